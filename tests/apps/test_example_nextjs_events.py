"""examples/nextjs-events in Chromium: Next.js with NextAuth, whose `eventManager.emit` publishes to Sidestream."""

import json
import re
import secrets
import subprocess
import textwrap
import time
from collections.abc import Iterator

import pytest
import requests
from deployment import PASSWORD, free_port, wait_for
from example import (
    Example,
    RawStream,
    Tab,
    bare,
    chromium,
    idle_cost,
    latencies,
    median,
    next_build,
    next_environment,
    two_tabs,
)
from npm import packages
from selenium.webdriver.common.by import By

NAME = "nextjs-events"
COOKIE = "next-auth.session-token"
STREAM = "/api/events"
ALICE, BOB = "1", "2"  # user ids of the app's store; carol is the third
HEARTBEAT = b":heartbeat\n"


class Ride(Example):
    """The app and Sidestream as they would be deployed."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.url = f"http://localhost:{self.relay.port}"
        self.app_port = free_port()
        self.environment |= {"NEXTAUTH_SECRET": secrets.token_urlsafe(32), "NEXTAUTH_URL": self.url}
        self.built = next_build(self.source)
        self.changes = {"0.0.0.0:8080": f"127.0.0.1:{self.port}", "127.0.0.1:3000": f"127.0.0.1:{self.app_port}"}

    def __enter__(self) -> "Ride":
        try:
            next_js = str(packages(self.source) / "node_modules/.bin/next")
            self.environment = {**next_environment(), **self.environment}
            command = [next_js, "start", "--hostname", "127.0.0.1", "--port", str(self.app_port)]
            self.app = self.start("app", command, self.app_port, cwd=self.built)
            self.configure(self.changes)
            self.start_sidestream()
        except BaseException:
            self.__exit__()
            raise
        return self

    def sign_in(self, name: str, port: int) -> requests.Session:
        """Signs a user in as NextAuth's own client does."""
        session = requests.Session()
        session.trust_env = False
        url = f"http://localhost:{port}/api/auth"
        form = {"csrfToken": session.get(f"{url}/csrf", timeout=60).json()["csrfToken"], "json": "true"}
        form |= {"name": name, "password": PASSWORD}
        answer = session.post(f"{url}/callback/credentials", form, timeout=60)
        assert answer.status_code == 200 and COOKIE in session.cookies, answer.text
        return session

    def cookies(self, users: list[str], lifetime: int) -> list[str]:
        """Session cookies as NextAuth itself makes them."""
        script = 'const { encode } = require("next-auth/jwt");'
        script += "const [users, maxAge, secret] = JSON.parse(process.argv[1]);"
        script += "Promise.all(users.map((sub) => encode({ token: { sub, name: 'alice' }, secret, maxAge })))"
        script += ".then((cookies) => console.log(JSON.stringify(cookies)))"
        arguments = json.dumps([users, lifetime, self.environment["NEXTAUTH_SECRET"]])
        command = ["node", "-e", script, arguments]
        return json.loads(subprocess.run(command, cwd=self.built, check=True, capture_output=True, timeout=60).stdout)


@pytest.fixture(scope="module")
def ride() -> Iterator[Ride]:
    with Ride() as ride:
        yield ride


@pytest.fixture(scope="module")
def bob(ride: Ride) -> requests.Session:
    """Bob at the app itself, so that he can write also while Sidestream is down."""
    return ride.sign_in("bob", ride.app_port)


@pytest.fixture
def tabs(ride: Ride, tmp_path) -> Iterator[list[Tab]]:
    """Alice, signed in, with two tabs of her conversation with bob."""
    with chromium(tmp_path / "alice") as browser:
        browser.get(ride.url)
        sign_in(browser, "alice")
        wait_for(lambda: ride.streams(ALICE) == 1, 10, "the stream of the first tab")
        tabs = two_tabs(browser, ride.url)
        wait_for(lambda: ride.streams(ALICE) == 2, 10, "the stream of the second tab")
        for tab in tabs:
            open_conversation(tab, "bob")
        yield tabs


def test_a_push_appears_in_both_tabs_and_nowhere_else(ride, bob, tabs, tmp_path, capsys) -> None:
    with chromium(tmp_path / "carol") as browser:
        browser.get(ride.url)
        sign_in(browser, "carol")
        carol = Tab(browser, browser.current_window_handle)
        wait_for(lambda: ride.streams(3) == 1, 10, "carol's stream")

        write(ride, bob, "Shall we ride on Sunday?")
        tabs[0].shows("Shall we ride on Sunday?")
        write_by_hand(tabs[0], "Yes! See you at the bridge.")
        tabs[1].shows("See you at the bridge.")  # by conversation_update, which the sender's own tabs get
        ask_to_be_friends(carol, "alice")
        tabs[1].run("document.querySelector('.bell-button').click()")
        tabs[1].shows("carol wants to be your friend")
        pictures = [tabs[1].show(tmp_path / "nextjs-events.png")]

        took = latencies(tabs, lambda text: write(ride, bob, text))
        assert median(took) < 2000, "seconds would be polling; the number is printed"
        for tab in tabs:
            shown = "return document.querySelector(arguments[0])?.textContent"
            assert tab.run(shown, ".badge") == "52", "the bell counts each notification"
            assert tab.run(shown, ".sidebar li") == "bobbob: push 49.", "the sidebar puts the conversation first"
        assert "push" not in carol.text and "bridge" not in carol.text and carol.run(shown, ".badge") is None

        buttons = "[...document.querySelectorAll('.bell-list button')]"
        tabs[1].run(f"{buttons}.find((one) => one.textContent === 'Accept').click()")
        carol.run("document.querySelector('.bell-button').click()")
        carol.shows("alice is your friend now")
        pictures.append(carol.show(tmp_path / "nextjs-events-carol.png"))
    with capsys.disabled():
        print(f"\nnextjs-events: median latency {median(took)} ms", *pictures)


def test_after_a_cut_the_page_has_what_happened_meanwhile(ride, bob, tabs) -> None:
    for tab in tabs:
        tab.run("window.sameDocument = true")
    ride.relay.cut()
    wait_for(lambda: ride.streams(ALICE) == 0, 10, "the streams are gone")
    cut = time.monotonic()
    for number in range(3):
        write(ride, bob, f"missed {number}.")
    refused = ride.relay.refused
    wait_for(lambda: ride.relay.refused > refused and time.monotonic() > cut + 2, 20, "the browser tries in vain")
    mended = time.time()
    ride.relay.mend()
    for tab in tabs:
        tab.shows("missed 2.")
        assert tab.run("return window.sameDocument"), "the page was reloaded"
        assert all(tab.text.count(f"\nmissed {number}.") == 1 for number in range(2)), "each once"
    # Three messages, with three events each, came again by the browser's Last-Event-ID.
    wait_for(lambda: len(ride.opened(ALICE, mended)) == 2, 10, "both streams in the access log")
    assert [line["replayed"] for line in ride.opened(ALICE, mended)] == [9, 9]


def test_after_a_restart_the_page_has_what_happened_meanwhile(ride, bob, tabs) -> None:
    for tab in tabs:
        tab.run("window.sameDocument = true")
    ride.sidestream.kill()
    assert write(ride, bob, "nobody listens."), "the app takes the message all the same"
    wait_for(lambda: "event message for user 1 was not sent" in ride.app.log.read_text(), 5, "the app's log says so")
    ride.start_sidestream()
    for tab in tabs:
        tab.shows("nobody listens.")  # the page loads it on "connected"
        assert tab.run("return window.sameDocument"), "the page was reloaded"
    write(ride, bob, "all is well.")
    for tab in tabs:
        tab.shows("all is well.")


def test_signing_out_ends_the_streams_of_all_tabs(ride, tabs) -> None:
    refused = len(ride.log(target=STREAM, status=401))
    tabs[0].run("document.querySelector('#sign-out').click()")
    tabs[0].shows("Sign in")
    wait_for(lambda: ride.streams(ALICE) == 0, 10, "the streams are gone")
    stays_out(ride, refused, time.time())


def test_an_expired_session_ends_its_stream(ride, tabs) -> None:
    [tab, other] = tabs
    other.browser.close()
    refused = len(ride.log(target=STREAM, status=401))
    # The libraries, and so Sidestream, take a session for 15 s longer than it says.
    [cookie] = ride.cookies([ALICE], -3)
    tab.browser.add_cookie({"name": COOKIE, "value": cookie, "path": "/", "httpOnly": True})
    began = time.time()
    tab.browser.refresh()
    wait_for(lambda: len(ride.opened(ALICE, began)) == 1, 10, "the stream of the short session")
    opened = time.time()
    wait_for(lambda: ride.log(kind="close", user=ALICE, reason="expired"), 15, "the stream ends with its session")
    stays_out(ride, refused, opened)


def test_the_bytes_of_the_stream(ride, bob) -> None:
    [cookie] = ride.cookies([ALICE], 3600)
    stream = RawStream(ride.port, STREAM, Cookie=f"{COOKIE}={cookie}")
    stream.read_until(lambda: b"\n\n" in stream.body, 10, "the first event")
    assert stream.head.startswith("HTTP/1.1 200 ") and "content-type: text/event-stream" in stream.head.lower()
    write(ride, bob, "hello")
    stream.read_until(lambda: bare(stream.body).count(b"\n\n") == 4, 10, "the hello and three events")
    stream.close()
    hello, message, notification, update, rest = bare(stream.body).split(b"\n\n")
    assert hello == b'event: connected\ndata: {"message": "Connected"}'
    assert rest == b""
    name, data = message.split(b"\n") if message.startswith(b"event") else (b"", message)
    assert name == b"", "an event called message needs no name"
    assert json.loads(data.removeprefix(b"data: "))["text"] == "hello"
    assert notification.startswith(b'event: notification\ndata: {"id":')
    assert update.startswith(b'event: conversation_update\ndata: {"id":"2",')


def test_strangers_are_refused(ride) -> None:
    assert requests.get(f"{ride.url}{STREAM}", timeout=60).status_code == 401
    cookies = {COOKIE: "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA"}
    assert requests.get(f"{ride.url}{STREAM}", cookies=cookies, timeout=60).status_code == 401


def test_the_app_can_be_asked_instead(ride, bob) -> None:
    readme = (ride.source / "README.md").read_text()
    ask = textwrap.dedent(re.search(r"\n    \[auth[.]session\]\n((?:    .+\n)+)", readme)[1])
    restart(ride, {'kind = "authjs"\nsecret = "env:NEXTAUTH_SECRET"\n': ask})
    stream = RawStream(ride.port, STREAM, Cookie=f"{COOKIE}={bob.cookies[COOKIE]}")
    stream.read_until(lambda: b"connected" in stream.body, 10, "the first event")
    assert ride.streams(BOB) == 1
    stream.close()
    test_strangers_are_refused(ride)


def test_idle_users_cost_next_to_nothing(ride, capsys) -> None:
    restart(ride, {'every = "30s"': 'every = "5s"'})
    cookies = ride.cookies([str(number) for number in range(100, 200)], 3600)
    streams = [RawStream(ride.port, STREAM, Cookie=f"{COOKIE}={cookie}") for cookie in cookies]
    for stream in streams:
        stream.read_until(lambda stream=stream: b"connected" in stream.body, 10, "the first event")
    cost = idle_cost({"sidestream": ride.sidestream, "app": ride.app})
    began = len(streams[0].body)
    streams[0].read_until(lambda: streams[0].body[began:].count(HEARTBEAT) >= 2, 15, "heartbeats")
    assert set(streams[0].body[began:].splitlines(keepends=True)) == {HEARTBEAT}, "nothing but the heartbeat"
    for stream in streams:
        stream.close()
    assert cost["sidestream"] < 0.5, "100 users, and heartbeats six times as often as they would come"
    hour = 120 * len(b"b\r\n" + HEARTBEAT + b"\r\n")
    with capsys.disabled():
        figures = f"{cost['sidestream']:.3f} % and {cost['app']:.3f} % (app) for 100 idle users, {hour} B/h each"
        print(f"\nnextjs-events: {figures}")


def test_a_disconnected_user_stays_out(ride, tabs) -> None:
    refused, began = len(ride.log(target=STREAM, status=401)), time.time()
    assert ride.publisher("POST", "/disconnect", {"user": ALICE, "block": "1m"}) == {"disconnected": 2}
    # The browser was told to stay away. Who reloads the page is refused, with a session that is still good.
    tabs[0].browser.refresh()
    stays_out(ride, refused, began)


def restart(ride: Ride, changes: dict[str, str]) -> None:
    """Starts Sidestream again, with another configuration."""
    ride.sidestream.stop()
    ride.configure({**ride.changes, **changes})
    ride.start_sidestream()


def sign_in(browser, name: str) -> None:
    """Fills in the app's form."""
    wait_for(lambda: browser.find_elements(By.NAME, "name"), 10, "the form")
    browser.find_element(By.NAME, "name").send_keys(name)
    browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    browser.find_element(By.CSS_SELECTOR, "form button").click()
    wait_for(lambda: browser.find_elements(By.ID, "sign-out"), 10, "the page of who is signed in")


def open_conversation(tab: Tab, title: str) -> None:
    """Chooses a conversation in the sidebar."""
    choose = "const found = [...document.querySelectorAll('.sidebar strong')]"
    choose += ".find((one) => one.textContent === arguments[0]); found?.click(); return Boolean(found)"
    wait_for(lambda: tab.run(choose, title), 10, f"the conversation {title}")


def write(ride: Ride, user: requests.Session, text: str) -> float:
    """Writes into the conversation of alice and bob, at the app itself; the time at which it was sent."""
    began = time.time()
    url = f"http://localhost:{ride.app_port}/api/conversations/2/messages"
    answer = user.post(url, json={"text": text}, timeout=60)
    assert answer.status_code == 201, answer.text
    return began


def write_by_hand(tab: Tab, text: str) -> None:
    """Types a message into the page."""
    tab.browser.find_element(By.CSS_SELECTOR, ".messages input").send_keys(text)
    tab.browser.find_element(By.CSS_SELECTOR, ".messages form button").click()


def ask_to_be_friends(tab: Tab, name: str) -> None:
    """Types a name into the form of the sidebar."""
    tab.browser.find_element(By.CSS_SELECTOR, ".sidebar input").send_keys(name)
    tab.browser.find_element(By.CSS_SELECTOR, ".sidebar form button").click()


def stays_out(ride: Ride, refused: int, since: float) -> None:
    """Waits until the browser came back and was refused, which it does not do again; nothing was opened."""
    wait_for(lambda: len(ride.log(target=STREAM, status=401)) > refused, 15, "the browser comes back, and is refused")
    assert ride.opened(ALICE, since) == [] and ride.streams(ALICE) == 0
