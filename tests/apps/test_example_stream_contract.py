"""examples/stream-contract in Chromium: an Express app behind Sidestream, and the React hook with its three components."""

import json
import re
import secrets
import subprocess
import time
from collections.abc import Iterator

import pytest
import requests
from console import Console
from deployment import PASSWORD, free_port, wait_for
from example import Example, RawStream, Tab, chromium, idle_cost, latencies, median, two_tabs
from front_end import beside_packages, served, vite_build
from selenium.webdriver.common.by import By

STREAM = "/api/notifications/stream"
ALICE, BOB = "1", "2"  # alice looks after the shop
HELLO = '{"type":"notification","notificationType":"info","message":"Connected to notification stream"}'
RETRY = 3.0  # seconds after which the browser connects again


class Office(Example):
    """The app and Sidestream as they would be deployed, and a console that calls the app's two functions."""

    def __init__(self) -> None:
        super().__init__("stream-contract")
        self.url = f"http://localhost:{self.relay.port}"
        self.app_port = free_port()
        self.environment |= {
            "JWT_SECRET": secrets.token_urlsafe(50),
            "HOOK_TOKEN": secrets.token_urlsafe(50),
            "PASSWORD": PASSWORD,
            "PORT": str(self.app_port),
            "PAGE": str(vite_build(self.source / "client")),
        }
        self.changes = {"0.0.0.0:3000": f"127.0.0.1:{self.port}", "127.0.0.1:3001": f"127.0.0.1:{self.app_port}"}
        self.console: Console | None = None
        self.since = 0.0  # when alice's tabs were last signed in anew
        self.server = beside_packages(self.source / "server")

    def __enter__(self) -> "Office":
        try:
            command = ["node", "--input-type=module", "--eval", _CONSOLE]
            self.console = Console(command, self.folder / "console.log", self.server, self.environment)
            self.app = self.start("app", ["node", "server.js"], self.app_port, cwd=self.server)
            self.configure(self.changes)
            self.start_sidestream()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.console:
            self.console.close()
        super().__exit__()

    def call(self, function: str, *arguments: object) -> list:
        """Calls a function in the app's language; the time at which it was called, and what it returned."""
        return self.console.ask([function, *arguments])

    def notify(self, message: str, user: str | None = None) -> float:
        """Calls the document's function; the time at which it was called."""
        notification = {"type": "notification", "notificationType": "info", "message": message, "duration": 60000}
        return self.call("broadcastNotification", notification, user)[0]

    def token(self, user: str, seconds: int = 3600, channels: list[str] | None = None) -> str:
        """A token as the app makes them."""
        return self.call("token", user, seconds, channels or [])[1]

    def events(self, token: str, query: str = "", **headers: str) -> RawStream:
        """An open stream that has been greeted, or refused."""
        stream = RawStream(self.port, f"{STREAM}?token={token}{query}", **headers)
        stream.read_until(lambda: stream.body.count(b"data: "), 10, "a first event")
        return stream

    def refusals(self) -> int:
        """How many streams were refused: answers that are whole, with an error event in them."""
        return sum(line["target"].startswith(STREAM) for line in self.log(kind="request", method="GET"))

    def opens(self) -> int:
        """How many streams alice has opened since her tabs were signed in anew."""
        return len(self.opened(ALICE, self.since))


_CONSOLE = """
import { createInterface } from "node:readline";
import jwt from "jsonwebtoken";
import * as notifications from "./notifications.js";

const token = (subject, expiresIn, channels) => jwt.sign({ channels }, process.env.JWT_SECRET, { subject, expiresIn });
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  const began = Date.now() / 1000;
  console.log(JSON.stringify([began, { ...notifications, token }[name](...args) ?? null]));
}
"""


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    with Office() as office:
        yield office


@pytest.fixture(scope="module")
def both(office: Office, tmp_path_factory) -> Iterator[list[Tab]]:
    """Two tabs of one browser."""
    with chromium(tmp_path_factory.mktemp("alice")) as browser:
        browser.get(office.url)
        yield two_tabs(browser, office.url)


@pytest.fixture
def tabs(office: Office, both: list[Tab]) -> list[Tab]:
    """Two tabs of alice, signed in anew."""
    for tab in both:
        tab.run("localStorage.clear()")
        tab.browser.refresh()
    wait_for(lambda: office.streams(ALICE) == 0, 10, "no streams of an earlier test")
    # The log is written behind what happens: lines of earlier streams may still come, and are told by their time.
    office.since = time.time()
    sign_in(both[0], "alice")  # and the other tab by its storage event
    wait_for(lambda: office.streams(ALICE) == 2 and office.opens() == 2, 10, "the streams of both tabs")
    for tab in both:
        tab.shows("stream open")
        tab.run("window.sameDocument = true")
    return both


def test_a_push_appears_in_both_tabs_and_nowhere_else(office, tabs, tmp_path, capsys) -> None:
    with chromium(tmp_path / "bob") as browser:
        browser.get(office.url)
        bob = Tab(browser, browser.current_window_handle)
        sign_in(bob, "bob")
        wait_for(lambda: office.streams(BOB) == 1, 10, "bob's stream")
        tabs[0].shows("user 2: login")  # a custom event, to a channel that alice may have

        took = latencies(tabs, lambda text: office.notify(text, ALICE))
        assert median(took) < 2000, "seconds would be polling; the number is printed"
        for tab in tabs:
            tab.browser.refresh()
            tab.shows("stream open")

        click(bob, "Order armchair")
        click(bob, "Order desk lamp")
        for tab in [bob, *tabs]:
            tab.shows("Order #12346 has been created")
            tab.shows("Desk lamp")  # its row, which the page itself did not make
        click(tabs[0], "Ship")  # the newest is on top
        bob.shows("Your order #12346 has been shipped")
        tabs[1].shows("shipped")
        pictures = [tabs[1].show(tmp_path / "stream-contract.png"), bob.show(tmp_path / "stream-contract-bob.png")]
        assert "push" not in bob.text and "login" not in bob.text
        assert not any("Your order" in tab.text for tab in tabs)
    with capsys.disabled():
        print(f"\nstream-contract: median latency {median(took)} ms", *pictures)


def test_after_a_cut_the_page_has_what_happened_meanwhile(office, tabs) -> None:
    office.relay.cut()
    wait_for(lambda: office.streams(ALICE) == 0, 10, "the streams are gone")
    cut = time.monotonic()
    office.notify("missed one.", ALICE)
    office.notify("missed two.")
    office.call("broadcastUpdate", "order", "created", {"id": 99001, "item": "Footstool", "status": "new"})
    wait_for(lambda: time.monotonic() > cut + 2, 5, "two seconds without a network")
    opened = office.opens()
    office.relay.mend()
    for tab in tabs:
        # The browser connects again, with the last id.
        tab.shows("missed two.", RETRY + 10)
        tab.shows("Footstool")
        assert tab.text.count("missed one.") == 1
        assert tab.run("return window.sameDocument"), "the page was reloaded"
    wait_for(lambda: office.opens() == opened + 2, 10, "one stream a tab")
    assert [line["replayed"] for line in office.opened(ALICE, office.since)[opened:]] == [3, 3]


def test_after_the_browser_gave_up_the_hook_resumes_by_query(office, tabs) -> None:
    # A browser gives up for good at an answer that is no stream; here the app's own 404, since the route is not there.
    office.sidestream.stop()
    office.configure({**office.changes, f'path = "{STREAM}"': 'path = "/elsewhere"'})
    office.start_sidestream()
    for tab in tabs:
        tab.shows("stream closed", RETRY + 10)
    office.sidestream.stop()
    office.configure(office.changes)
    office.start_sidestream()
    for tab in tabs:
        tab.shows("stream open", 15)
    wait_for(lambda: len(office.log(kind="open", user=ALICE)) == 2, 10, "one stream a tab")
    assert all("lastEventId=" in line["target"] for line in office.log(kind="open", user=ALICE)[-2:])


def test_after_a_restart_the_page_has_what_happened_meanwhile(office, tabs) -> None:
    office.sidestream.kill()
    headers = {"Authorization": f"Bearer {office.token(ALICE)}"}
    url = f"http://localhost:{office.app_port}/api/orders"
    answer = requests.post(url, json={"item": "Piano"}, headers=headers, timeout=60)
    assert answer.status_code == 200, "the app takes the order all the same"
    wait_for(lambda: "update was not sent" in office.app.log.read_text(), 5, "the app's log says so")
    office.start_sidestream()
    for tab in tabs:
        tab.shows("Piano", RETRY + 10)  # loaded when on_gap's update came
        assert tab.run("return window.sameDocument"), "the page was reloaded"
    office.notify("all is well.", ALICE)
    for tab in tabs:
        tab.shows("all is well.")


def test_signing_out_ends_the_streams_of_all_tabs(office, tabs) -> None:
    opened = office.opens()
    tabs[0].run("document.querySelector('#sign-out').click()")
    for tab in tabs:
        tab.shows("Sign in")
    wait_for(lambda: office.streams(ALICE) == 0, 10, "the streams are gone")
    assert office.opens() == opened


def test_an_expired_token_ends_its_stream(office, tabs) -> None:
    opened = office.opens()
    session = {"token": office.token(ALICE, 10), "userId": ALICE, "name": "alice", "channels": []}
    tabs[0].run("localStorage.setItem('session', arguments[0])", json.dumps(session))
    tabs[0].browser.refresh()
    for tab in tabs:  # the other one took the new session by its storage event
        tab.shows("Sign in")  # by the error event with code 401
    wait_for(lambda: office.log(kind="close", user=ALICE, reason="expired"), 10, "the reason in the log")
    wait_for(lambda: office.streams(ALICE) == 0 and office.opens() == opened + 2, 10, "one stream a tab, and no more")


def test_a_disconnected_user_stays_out(office, tabs) -> None:
    opened = office.opens()
    assert office.publisher("POST", "/disconnect", {"user": ALICE, "block": "1m"}) == {"disconnected": 2}
    for tab in tabs:
        tab.shows("Sign in")
    refused = office.refusals()
    sign_in(tabs[0], "alice", "Sign in")  # her password still is good; her streams are refused, and both pages leave
    wait_for(lambda: office.refusals() > refused, 10, "the refusal in the log")
    assert office.opens() == opened and office.streams(ALICE) == 0
    # The block was for this process of Sidestream.
    office.sidestream.stop()
    office.start_sidestream()


def test_what_the_contract_says_of_a_stream(office) -> None:
    token = office.token(BOB)
    for stream in (office.events(token), office.events(token, Accept="text/event-stream", Origin="http://elsewhere.example")):
        head = stream.head.lower()
        assert head.startswith("http/1.1 200 ")
        for line in ("content-type: text/event-stream", "cache-control: no-cache", "connection: keep-alive"):
            assert f"\r\n{line}\r\n" in head + "\r\n", head
        stream.close()
    assert "\r\naccess-control-allow-origin: *\r\n" in head + "\r\n" and "access-control-allow-headers: cache-control" in head

    # Only what the user may have; the query says nothing of who somebody is.
    url = f"http://127.0.0.1:{office.port}{STREAM}?token={token}"
    for query in ("channels=orders", "userId=2"):
        with requests.get(f"{url}&{query}", stream=True, timeout=60) as answer:
            assert answer.status_code == 200, query
    for query, named in (("channels=orders,alerts", "alerts"), ("userId=1", "userId")):
        answer = requests.get(f"{url}&{query}", timeout=60)
        assert answer.status_code == 403 and named in answer.text, answer.text

    for target in (STREAM, f"{STREAM}?token=your_token"):
        answer = requests.get(f"http://127.0.0.1:{office.port}{target}", timeout=60)
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/event-stream"
        assert answer.text == 'event: error\nretry: 3600000\ndata: {"error":"Unauthorized","code":401}\n\n'


def test_curl_shows_the_stream(office) -> None:
    # The document's two lines, with another port and a token that is good.
    url, token = f"http://localhost:{office.port}{STREAM}", office.token(BOB)
    accept = ["-H", "Accept: text/event-stream"]
    for how in ([f"{url}?token={token}"], ["-H", f"Authorization: Bearer {token}", url]):
        done = subprocess.run(["curl", "-s", "--max-time", "5", "-N", *accept, *how], capture_output=True, timeout=60)
        assert done.returncode == 28 and HELLO in done.stdout.decode(), "curl waits for more until its time is over"


def test_resuming_by_header_and_by_query(office) -> None:
    token = office.token(BOB)
    first = office.events(token)
    office.notify("one", BOB)
    first.read_until(lambda: b'"one"' in first.body and first.body.endswith(b"\n\n"), 10, "a notification")
    first.close()
    last = re.findall(rb"id: (\S+)\n", first.body)[0].decode()
    for stream in (office.events(token, f"&lastEventId={last}"), office.events(token, Last_Event_ID=last)):
        stream.read_until(lambda stream=stream: b'"one"' in stream.body, 10, "the replay")
        stream.close()


def test_an_outside_hook_is_held_to_the_fields(office) -> None:
    url = f"http://127.0.0.1:{office.port}/hooks/notifications"
    headers = {"Authorization": f"Bearer {office.environment['HOOK_TOKEN']}"}
    stream = office.events(office.token(BOB))
    whole = {"notificationType": "warning", "title": "Stock", "message": "Few armchairs are left", "duration": 7000}
    assert requests.post(url, json=whole, headers=headers, timeout=60).status_code == 200
    stream.read_until(lambda: b"armchairs" in stream.body and stream.body.endswith(b"\n\n"), 10, "the notification")
    data = stream.body.rstrip().rpartition(b"data: ")[2]
    assert json.loads(data) == {"type": "notification", **whole}
    stream.close()
    for field in ("notificationType", "message"):
        part = {name: value for name, value in whole.items() if name != field}
        answer = requests.post(url, json=part, headers=headers, timeout=60)
        assert answer.status_code == 400 and answer.json()["field"] == f"/{field}"
    assert requests.post(url, json=whole, timeout=60).status_code == 401


def test_a_page_of_another_origin(office, tmp_path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page/index.html").write_text("<!doctype html><title>elsewhere</title>")
    with served(tmp_path / "page") as port, chromium(tmp_path / "profile") as browser:
        browser.get(f"http://localhost:{port}/")
        browser.set_script_timeout(60)
        script = "const [url, done] = arguments; const source = new EventSource(url);"
        script += "source.addEventListener('notification', ({ data }) => done(data)); source.onerror = () => done('error');"
        assert browser.execute_async_script(script, f"{office.url}{STREAM}?token={office.token(BOB)}") == HELLO


def test_the_bytes_of_the_stream(office) -> None:
    office.sidestream.stop()
    office.configure({**office.changes, 'every = "30s"': 'every = "1s"'})
    office.start_sidestream()
    heartbeat = sse("heartbeat", {})
    stream = office.events(office.token(BOB))
    data = {"type": "notification", "notificationType": "success", "title": "Größe", "message": 'a "line"\nand another'}
    office.call("broadcastNotification", data, BOB)
    office.call("broadcastUpdate", "order", "created", {"id": 1, "item": "Stool"})
    stream.read_until(lambda: as_the_document(stream).count(heartbeat) >= 2, 15, "heartbeats")
    update = {"type": "update", "entity": "order", "action": "created", "payload": {"id": 1, "item": "Stool"}}
    expected = sse("notification", json.loads(HELLO)) + sse("notification", data) + sse("update", update)
    assert as_the_document(stream).replace(heartbeat, b"") == expected
    ids = re.findall(rb"^id: (\S+)$", stream.body, re.MULTILINE)
    assert len(set(ids)) == 3, "a heartbeat repeats the last id"
    stream.close()
    office.sidestream.stop()
    office.configure(office.changes)
    office.start_sidestream()


def test_idle_users_cost_next_to_nothing(office, capsys) -> None:
    streams = [office.events(office.token(str(user))) for user in range(100, 200)]
    cost = idle_cost({"sidestream": office.sidestream, "app": office.app})
    ids = re.findall(rb"^id: (\S+)$", streams[0].body, re.MULTILINE)
    for stream in streams:
        stream.close()
    assert cost["sidestream"] < 0.3, "far below on an idle machine; the README has the number"
    event = len(b"id: " + ids[0] + b"\nevent: heartbeat\ndata: {}\n\n")
    hour = 120 * (event + len(b"%x\r\n\r\n" % event))
    with capsys.disabled():
        print(f"\nstream-contract: {cost['sidestream']:.3f} %, {cost['app']:.3f} % (app) for 100 idle users, {hour} B/h each")


def sse(kind: str, data: object) -> bytes:
    """What the document's sendSSE writes, but for the number."""
    return f"id: N\nevent: {kind}\ndata: {json.dumps(data, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


def as_the_document(stream: RawStream) -> bytes:
    """The event stream without its `retry:`, and with each id like the other."""
    lines = [line for line in stream.body.split(b"\n") if not line.startswith(b"retry: ")]
    return b"\n".join(b"id: N" if line.startswith(b"id: ") else line for line in lines)


def sign_in(tab: Tab, name: str, then: str = "Sign out") -> None:
    """Fills in the page's form."""
    tab.shows("Sign in")
    tab.browser.find_element(By.NAME, "name").send_keys(name)
    tab.browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    tab.browser.find_element(By.CSS_SELECTOR, "form button").click()
    tab.shows(then)


def click(tab: Tab, label: str) -> None:
    """Presses the first button with a label, once it is there."""
    press = "const it = [...document.querySelectorAll('button')].find((one) => one.textContent === arguments[0]); it?.click();"
    wait_for(lambda: tab.run(f"{press} return Boolean(it)", label), 10, f"a button {label!r}")
