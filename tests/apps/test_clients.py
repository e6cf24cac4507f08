"""Streams read by the real client libraries: each comes back by itself after every kind of end, and misses nothing."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import chromium
from deployment import wait_for
from readers import PATIENT, Reader, Script, Site, token
from relay import Relay
from selenium.webdriver import Chrome

SOON = 60.0  # seconds that anything may take which no test waits for on purpose


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site() as site:
        beats(site)
        yield site


def beats(site: Site) -> None:
    """Waits for two heartbeats on /events, a comment each: the clients below get many of them."""
    with socket.create_connection(("127.0.0.1", site.clear.port), timeout=SOON) as connection:
        connection.sendall(f"GET /events?token={token('beats')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        text = b""
        while text.count(b":\n") < 2:
            piece = connection.recv(65536)
            assert piece, text
            text += piece


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Chrome]]:
    """Opens the page of the clients at an origin, in a browser that keeps no cookies from one time to the next."""

    with chromium(tmp_path_factory.mktemp("profile")) as browser:

        def open_page(origin: str) -> Chrome:
            browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
            browser.get(origin)
            wait_for(lambda: browser.execute_script("return 'clients' in window"), SOON, "the page's libraries")
            return browser

        yield open_page


def seen(client: Reader | Script) -> list[tuple[str, str, str]]:
    """The events that a client fired: kind, data and id."""
    return [(line["event"], line["data"], line["id"]) for line in client.lines() if line.get("data")]


def empty(client: Reader | Script) -> int:
    """How many messages without data a client fired."""
    return sum(line.get("data") == "" for line in client.lines())


def opens(client: Reader | Script) -> int:
    """How often a client found its stream open."""
    return sum("open" in line for line in client.lines())


def errors(client: Reader | Script) -> list[object]:
    """What a client was told besides events."""
    return [line["error"] for line in client.lines() if "error" in line]


CLIENTS = ["native", "native h2", "reconnecting-eventsource", "fetch-event-source h2", "fetch-event-source cors"]


@pytest.mark.parametrize("client", ["eventsource", "httpx-sse"])
def test_a_program_comes_back_after_every_end(site: Site, client: str) -> None:
    url = f"http://127.0.0.1:{site.clear.port}/events"
    comes_back(site, site.clear, client, lambda user: site.script(client, url, user))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_page_comes_back_after_every_end(site: Site, page: Callable[[str], Chrome], client: str) -> None:
    library, _, way = client.partition(" ")
    relay = site.tls if way == "h2" else site.clear
    base = f"https://localhost:{relay.port}" if way == "h2" else f"http://127.0.0.1:{relay.port}"
    browser = page(site.app.origin if way == "cors" else base)
    spoken = browser.execute_script("return performance.getEntriesByType('navigation')[0].nextHopProtocol")
    assert spoken == ("h2" if way == "h2" else "http/1.1")

    def open_stream(user: str) -> Reader:
        if library != "fetch-event-source":
            return Reader(browser, user, library, f"{base}/events?token={token(user)}")
        options = {"headers": {"Authorization": f"Bearer {token(user)}"}, "credentials": "include"}
        return Reader(browser, user, library, f"{base}/events", **options)

    comes_back(site, relay, client, open_stream)


def comes_back(site: Site, relay: Relay, name: str, open_stream: Callable[[str], Reader | Script]) -> None:
    """Ten events across a broken network, a disconnection and the end of the stream's time; then a crash."""
    user = name.replace(" ", "-")
    client = open_stream(user)
    wait_for(lambda: opens(client) == 1, SOON, "the stream")
    expected = []

    def publish(number: int) -> None:
        for _ in range(number):
            kind = ["message", "notification"][len(expected) % 2]
            expected.append(site.publish(user, kind, f"the {len(expected)}th\nof all"))

    def arrive(what: str) -> None:
        wait_for(lambda: len(seen(client)) >= len(expected), SOON, what)
        assert seen(client) == expected, what

    publish(2)
    arrive("the first events")
    with broken(relay):
        publish(2)
    arrive("what came while the network was down")

    def grown_old() -> int:
        return sum(line["reason"] == "max-age" for line in site.log("close", user))

    before = grown_old()
    wait_for(lambda: grown_old() > before, SOON, "the end of the stream's time")
    publish(2)
    arrive("what came after the stream's time")

    # It may be away just now: its time is short.
    wait_for(lambda: site.disconnect(user) == 1, SOON, "the stream, to be ended")
    publish(2)
    arrive("what came after a disconnection")
    publish(2)
    arrive("live events at last")
    assert len(expected) == 10

    site.restart()
    wait_for(lambda: len(seen(client)) > len(expected), SOON, "word of the crash")
    kind, data, _ = seen(client)[-1]
    assert (kind, json.loads(data)) == ("reset", {"reason": "new-epoch"})
    publish(1)
    wait_for(lambda: seen(client)[-1] == expected[-1], SOON, "an event after the crash")
    assert len(seen(client)) == len(expected) + 1
    # These two fire what a stream opens with, which has an id and no data. A heartbeat fires nothing anywhere.
    fires_opening = name.startswith(("fetch-event-source", "httpx-sse"))
    if fires_opening:
        wait_for(lambda: empty(client) == opens(client), SOON, "a message for each opening")
    else:
        assert empty(client) == 0
    client.close()


@contextmanager
def broken(relay: Relay) -> Iterator[None]:
    """Cuts the network until the client has tried in vain to come back."""
    tries = relay.refused
    relay.cut()
    yield
    wait_for(lambda: relay.refused > tries, SOON, "the client tries in vain")
    relay.mend()


def test_each_comes_back_after_the_wait_that_it_is_told(site: Site, page: Callable[[str], Chrome]) -> None:
    base = f"http://127.0.0.1:{site.clear.port}"
    browser = page(base)
    url = f"{base}/patient?token={token('patient')}&name="
    libraries = ["native", "reconnecting-eventsource", "fetch-event-source"]
    clients = [Reader(browser, library, library, url + library) for library in libraries]
    clients.append(site.script("eventsource", f"{url}eventsource", "patient"))
    wait_for(lambda: all(opens(client) == 1 for client in clients), SOON, "the streams")
    def times(kind: str, library: str) -> list[float]:
        return [line["time"] for line in site.log(kind, "patient") if line["target"].endswith(f"={library}")]

    # A busy machine may wake one of them too late, but not each time.
    for rounds in range(1, 6):
        assert site.disconnect("patient") == len(clients)
        wait_for(lambda rounds=rounds: len(site.log("open", "patient")) == (rounds + 1) * len(clients), SOON, "all of them again")
        waits = {}
        for library in [*libraries, "eventsource"]:
            ended, again = times("close", library), times("open", library)[1:]
            waits[library] = min(came - went for went, came in zip(ended, again, strict=True))
        if max(waits.values()) < PATIENT + 1:
            break
    assert all(PATIENT - 0.05 < wait < PATIENT + 1 for wait in waits.values()), waits
    for client in clients:
        client.close()


def test_a_tab_above_the_limit_comes_in_once_another_is_closed(site: Site, page: Callable[[str], Chrome]) -> None:
    browser = page(f"http://127.0.0.1:{site.clear.port}")
    pairs = {}
    for library in ("native", "fetch-event-source"):
        user = f"limited-{library}"
        url = f"/one?name={user}&token={token(user)}"
        first = Reader(browser, f"first {user}", "native", url)
        wait_for(lambda: opens(first) == 1, SOON, "the first stream")
        second = Reader(browser, f"second {user}", library, url)
        wait_for(lambda: errors(second), SOON, "the end of the second")
        assert opens(second) == 1, "it was answered like a stream"
        wait_for(lambda: len(site.log("open", user)) == 1, SOON, "the first stream in the log, and only that")
        pairs[user] = first, second
        first.close()
    for user, (first, second) in pairs.items():
        wait_for(lambda: len(site.log("open", user)) == 2, 15, "the second stream")
        [refused], opened = site.requests(f"/one?name={user}&"), site.log("open", user)[-1]
        # Their own default is three seconds, or one, and what they were told six to twelve: it takes a closed tab.
        assert opened["time"] - refused["time"] > 5.9
        event = site.publish(user, "notification", "there is room")
        wait_for(lambda: seen(second) == [event], SOON, "an event in it")
        assert seen(first) == []


def test_a_refusal_told_in_the_stream_reaches_the_page(site: Site, page: Callable[[str], Chrome]) -> None:
    browser = page(f"http://127.0.0.1:{site.clear.port}")
    refused = Reader(browser, "refused", "native", f"/told?name=refused&token={token('42', -60)}")
    wait_for(lambda: len(errors(refused)) == 2, SOON, "word of the refusal, and its end")
    assert told(refused) == [TOLD]
    assert refused.lines()[-1] == {"error": None, "state": 0}
    # Another one comes back twice on the same route. The refused one has an hour to wait.
    other = Reader(browser, "other", "native", f"/told?token={token('told')}")
    for times in (1, 2, 3):
        wait_for(lambda times=times: opens(other) == times, SOON, "the stream")
        assert site.disconnect("told") == 1
    wait_for(lambda: len(site.log("close", "told")) == 3, SOON, "its last end in the log")
    assert len(site.requests("/told?name=refused")) == 1


def test_a_token_that_expires_is_told_and_a_new_one_goes_on(site: Site, page: Callable[[str], Chrome]) -> None:
    base = f"http://127.0.0.1:{site.clear.port}"
    browser = page(base)
    url = f"{base}/patient?token={token('expiring', 15)}"
    libraries = ["native", "reconnecting-eventsource", "fetch-event-source"]
    clients = {library: Reader(browser, library, library, url) for library in libraries}
    for library in ("eventsource", "httpx-sse"):
        clients[library] = site.script(library, f"{base}/patient", "expiring", 15)
    wait_for(lambda: all(opens(client) == 1 for client in clients.values()), SOON, "the streams")
    first = site.publish("expiring", "notification", "before")
    for library, client in clients.items():
        wait_for(lambda client=client: TOLD in told(client), SOON, f"word of the end in {library}")
        assert seen(client)[0] == first
        # These give up at the refusal that follows; the others go on asking, unless their callers end that.
        if library in ("native", "eventsource"):
            wait_for(lambda client=client: client.lines()[-1].get("state") == 2, SOON, f"the end of {library}")
    missed = site.publish("expiring", "notification", "meanwhile")
    new = Reader(browser, "new", "native", f"/patient?token={token('expiring')}&lastEventId={first[2]}")
    wait_for(lambda: seen(new) == [missed], SOON, "what came meanwhile")


TOLD = {"error": "Unauthorized", "code": 401}


def told(client: Reader | Script) -> list[object]:
    """What a client was told in events named "error", which an EventSource fires as errors that have data."""
    said = [data for kind, data, _ in seen(client) if kind == "error"]
    return [json.loads(data) for data in [*said, *errors(client)] if str(data).startswith("{")]


def test_a_ticket_opens_a_stream_again_and_again(site: Site, page: Callable[[str], Chrome]) -> None:
    browser = page(f"http://127.0.0.1:{site.clear.port}")
    given = browser.execute_async_script(TICKET, token("ticket"))
    assert 3500 < given["expires_in"] <= 3600
    client = Reader(browser, "ticket", "native", f"/events?ticket={given['ticket']}")
    wait_for(lambda: opens(client) == 1, SOON, "the stream")
    expected = [site.publish("ticket", "notification", "before")]
    wait_for(lambda: seen(client) == expected, SOON, "an event")
    with broken(site.clear):
        expected.append(site.publish("ticket", "notification", "meanwhile"))
    wait_for(lambda: len(seen(client)) == 2, SOON, "what came meanwhile")
    expected.append(site.publish("ticket", "message", "after"))
    wait_for(lambda: seen(client) == expected, SOON, "an event after the cut")
    assert given["ticket"] not in (site.folder / "access.log").read_text()


TICKET = """
    const [token, done] = arguments;
    fetch("/events?ticket=1", { method: "POST", headers: { Authorization: `Bearer ${token}` } })
      .then(async (response) => done(await response.json()))
      .catch((error) => done(String(error)));
"""


def test_a_page_of_another_origin_reads_with_its_cookie_if_it_is_listed(
    site: Site, page: Callable[[str], Chrome]
) -> None:
    url = f"http://127.0.0.1:{site.clear.port}/asked"
    browser = page(site.app.origin)
    browser.add_cookie({"name": "sessionid", "value": "cookie"})
    client = Reader(browser, "cookie", "native", url, withCredentials=True)
    wait_for(lambda: opens(client) == 1, SOON, "the stream")
    event = site.publish("cookie", "notification", "hello")
    wait_for(lambda: seen(client) == [event], SOON, "an event")
    without = Reader(browser, "without", "native", url)
    wait_for(lambda: errors(without), SOON, "the refusal without the cookie")
    assert without.lines() == [{"error": None, "state": 2}]

    browser = page(site.app.origin.replace("127.0.0.1", "localhost"))
    headers = {"Authorization": f"Bearer {token('unlisted')}"}
    unlisted = Reader(browser, "unlisted", "fetch-event-source", url, headers=headers)
    wait_for(lambda: errors(unlisted), SOON, "the browser's refusal")
    assert opens(unlisted) == 0 and not site.log("open", "unlisted")


def test_while_it_cannot_be_found_out_who_it_is(site: Site, page: Callable[[str], Chrome]) -> None:
    """A plain EventSource gives up at the first 502, reconnecting-eventsource goes on, and so does one told in-band."""
    browser = page(f"http://127.0.0.1:{site.clear.port}")
    browser.add_cookie({"name": "sessionid", "value": "asked"})
    plain = Reader(browser, "plain", "native", "/asked")
    steady = Reader(browser, "steady", "reconnecting-eventsource", "/asked", max_retry_time=500)
    told = Reader(browser, "told", "native", "/told?name=asked")
    clients = [plain, steady, told]
    wait_for(lambda: all(opens(client) == 1 for client in clients), SOON, "the streams")
    first = site.publish("asked", "notification", "before")
    wait_for(lambda: all(seen(client) == [first] for client in clients), SOON, "an event in each")
    site.app.is_down = True
    try:
        assert site.disconnect("asked") == len(clients)
        wait_for(lambda: len(site.requests("/asked?lastEventId=")) > 1, SOON, "the second try with a new EventSource")
        wait_for(lambda: len(site.requests("/told?name=asked")) > 1, SOON, "the second try of the one that is told")
        missed = site.publish("asked", "notification", "meanwhile")
    finally:
        site.app.is_down = False
    wait_for(lambda: seen(steady) == [first, missed], SOON, "what came meanwhile")
    wait_for(lambda: seen(told) == [first, missed], SOON, "what came meanwhile, where it is told")
    assert {"error": '{"error":"Unavailable","code":502}', "state": 1} in told.lines()
    assert seen(plain) == [first] and plain.lines()[-1] == {"error": None, "state": 2}
    # Its EventSource has the old id in the address for good, and comes back by itself with a newer one in the header.
    assert site.disconnect("asked") == 2
    last = site.publish("asked", "notification", "after")
    for client in (steady, told):
        wait_for(lambda client=client: last in seen(client), SOON, "an event after another end")
        assert seen(client) == [first, missed, last]


def test_a_greeting_takes_the_place_of_an_empty_message(site: Site, page: Callable[[str], Chrome]) -> None:
    browser = page(f"http://127.0.0.1:{site.clear.port}")
    headers = {"Authorization": f"Bearer {token('greeted')}"}
    client = Reader(browser, "greeted", "fetch-event-source", "/greeted", headers=headers)
    wait_for(lambda: seen(client), SOON, "the greeting")
    assert seen(client)[0][:2] == ("connected", "{}")
    assert seen(client)[0][2] and empty(client) == 0
