"""examples/django-redis-inbox in Chromium: Django with SimpleJWT, a Next.js page on another origin, and no Redis."""

import json
import time
from collections.abc import Iterator

import pytest
import requests
from deployment import HERE, PASSWORD, wait_for
from example import EXAMPLES, RawStream, Tab, bare, idle_cost, latencies, median, two_tabs
from inbox_example import (
    HEARTBEAT,
    HELLO,
    STREAM,
    WEB,
    Inbox,
    create_group,
    leave,
    notifications,
    refresh,
    refusals,
    restart,
    sign_in,
)
from selenium.webdriver.common.by import By


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with Inbox() as inbox:
        yield inbox


@pytest.fixture
def tabs(inbox: Inbox, tmp_path) -> Iterator[list[Tab]]:
    """Alice, signed in, with two tabs and nothing unread."""
    inbox.read_all(1)
    with inbox.browser(tmp_path / "alice") as browser:
        sign_in(browser, "alice")
        tabs = two_tabs(browser, f"{WEB}/notifications")
        for tab in tabs:
            tab.shows(HELLO)
        yield tabs


def test_the_end_to_end_list_of_the_document(inbox, tmp_path) -> None:
    inbox.read_all(1)
    created = "New approver group created successfully."
    with inbox.browser(tmp_path / "alice") as browser:
        sign_in(browser, "alice")
        tab = Tab(browser, browser.current_window_handle)
        tab.shows(HELLO)
        assert create_group(inbox, "alice").status_code == 201
        tab.shows(created)
        assert notifications(tab) == [HELLO, created]
        refresh(inbox, tab)
        # Had it been sent again, it would have come before this one.
        inbox.add_notification(1, "the next.")
        tab.shows("the next.")
        assert notifications(tab) == [HELLO, "the next."]
        # Disconnect, and come back to what is unread, oldest first.
        tab = leave(inbox, tab)
        for message in ("one.", "two."):
            inbox.add_notification(1, message)
        wait_for(lambda: inbox.unread(1) == ["one.", "two."], 5, "both are unread")
        browser.get(f"{WEB}/notifications")
        tab.shows("two.")
        assert notifications(tab) == [HELLO, "one.", "two."]
        wait_for(lambda: inbox.unread(1) == [], 5, "both are read")


def test_what_is_unread_survives_restarts_of_sidestream_and_of_the_app(inbox, tmp_path) -> None:
    inbox.read_all(1)
    for stop in (inbox_kill, inbox_stop):
        with inbox.browser(tmp_path / stop.__name__) as browser:
            sign_in(browser, "alice")
            tab = Tab(browser, browser.current_window_handle)
            tab.shows(HELLO)
            inbox.add_notification(1, "seen.")
            tab.shows("seen.")
            wait_for(lambda: inbox.unread(1) == [], 5, "it is read")
            tab = leave(inbox, tab)
            inbox.add_notification(1, "waits.")
            wait_for(lambda: inbox.unread(1) == ["waits."], 5, "it is unread")
            inbox.app.stop()
            stop(inbox)
            inbox.start_sidestream()
            inbox.start_app()
            assert create_group(inbox, "alice").status_code == 201
            browser.get(f"{WEB}/notifications")
            tab.shows("created")
            assert notifications(tab) == [HELLO, "waits.", "New approver group created successfully."]
            wait_for(lambda: inbox.unread(1) == [], 5, "both are read")
            refresh(inbox, tab)
            assert notifications(tab) == [HELLO]


def inbox_kill(inbox: Inbox) -> None:
    """As a crash does."""
    inbox.sidestream.kill()


def inbox_stop(inbox: Inbox) -> None:
    """As a deploy does."""
    inbox.sidestream.stop()


def test_a_push_appears_in_both_tabs_and_nowhere_else(inbox, tabs, tmp_path, capsys) -> None:
    with inbox.browser(tmp_path / "bob") as browser:
        sign_in(browser, "bob")
        bob = Tab(browser, browser.current_window_handle)
        bob.shows(HELLO)
        tabs[0].browser.find_element(By.CSS_SELECTOR, ".group input").send_keys("Travel expenses")
        tabs[0].browser.find_element(By.CSS_SELECTOR, ".group button").click()
        for tab in tabs:
            tab.shows("New approver group created successfully.")
        picture = tabs[0].show(tmp_path / "django-redis-inbox.png")
        took = latencies(tabs, lambda text: inbox.add_notification(1, text))
        assert median(took) < 2000, "seconds would be polling; the number is printed"
        assert notifications(bob) == [HELLO]
    with capsys.disabled():
        print(f"\ndjango-redis-inbox: median latency {median(took)} ms", picture)


def test_the_documents_request_notifies_whoever_sends_it(inbox) -> None:
    url = f"http://127.0.0.1:{inbox.port}"
    form = {"username": "alice", "password": PASSWORD}
    token = requests.post(f"{url}/api/token/", json=form, timeout=60).json()["access"]
    stream = RawStream(inbox.port, f"{STREAM}?token={token}")
    stream.read_until(lambda: b"\n\n" in stream.body, 10, "the first event")
    groups, bearer = f"{url}/api/approval/approver-groups/", {"Authorization": f"Bearer {token}"}
    answer = requests.post(groups, json={"name": "Test Group"}, headers=bearer, timeout=60)
    assert (answer.status_code, answer.json()["name"]) == (201, "Test Group")
    stream.read_until(lambda: bare(stream.body).count(b"\n\n") == 2, 10, "the notification")
    stream.close()
    assert requests.post(groups, json={"name": ""}, headers=bearer, timeout=60).status_code == 400
    answer = requests.post(groups, json={"name": "Test Group"}, timeout=60)
    assert (answer.status_code, answer.json()) == (401, {"error": "User not authenticated"})


def test_after_a_cut_the_page_reloads_and_goes_on_live(inbox, tabs) -> None:
    began = inbox.add_notification(1, "seen.")
    for tab in tabs:
        tab.shows("seen.")
        tab.run("window.sameDocument = true")
    inbox.relay.cut()
    wait_for(lambda: inbox.streams(1) == 0, 10, "the streams are gone")
    inbox.add_notification(1, "missed.")
    wait_for(lambda: time.time() > began + 2, 5, "the cut has lasted")
    inbox.relay.mend()
    wait_for(lambda: inbox.streams(1) == 2, 15, "both tabs are back")
    inbox.add_notification(1, "live again.")
    for tab in tabs:
        tab.shows("live again.")
        assert tab.run("return window.sameDocument") is None, "the component reloads its page"
    # What was missed is unread until it is sent: the page that is back first has it, and the other one if it is as quick.
    shown = [notifications(tab) for tab in tabs]
    assert [HELLO, "missed.", "live again."] in shown
    assert all(text in ([HELLO, "missed.", "live again."], [HELLO, "live again."]) for text in shown)


def test_after_a_restart_the_page_comes_back(inbox, tabs) -> None:
    inbox.sidestream.kill()
    inbox.add_notification(1, "nobody listens.")  # it returned, so the app was not disturbed
    log = inbox.folder / "publisher.log"
    wait_for(lambda: "Error calling add_notification" in log.read_text(), 5, "Django's log says so")
    inbox.start_sidestream()
    wait_for(lambda: inbox.streams(1) == 2, 20, "both tabs are back")
    inbox.add_notification(1, "all is well.")
    for tab in tabs:
        tab.shows("all is well.")
        assert notifications(tab) == [HELLO, "all is well."]


def test_what_is_sent_while_sidestream_restarts_is_not_lost(inbox, tabs) -> None:
    tabs[1].browser.close()
    leave(inbox, tabs[0])
    inbox.sidestream.kill()
    inbox.send(1, "sent in between.")
    inbox.start_sidestream()
    inbox.sent()
    assert inbox.unread(1) == ["sent in between."]


def test_signing_out_closes_the_streams_of_all_tabs(inbox, tabs) -> None:
    began = time.time()
    tabs[0].run("document.querySelector('#sign-out').click()")
    for tab in tabs:
        tab.shows("Sign in")
    wait_for(lambda: inbox.streams(1) == 0, 10, "the streams are gone")
    assert inbox.opened(1, began) == []


def test_an_expired_token_ends_its_stream(inbox, tabs) -> None:
    [tab, other] = tabs
    other.browser.close()
    tab.run("localStorage.setItem('token', arguments[0])", inbox.token(1, 10))
    began = time.time()
    tab.browser.refresh()
    wait_for(lambda: len(inbox.opened(1, began)) == 1, 10, "the stream of the short token")
    # Sidestream allows 5 s between the clocks; then the component reloads, and the page asks for a new login.
    wait_for(lambda: inbox.log(kind="close", user="1", reason="expired"), 15, "the stream ends with its token")
    tab.shows("Sign in")
    assert len(inbox.opened(1, began)) == 1 and inbox.streams(1) == 0


def test_the_bytes_of_the_stream(inbox) -> None:
    restart(inbox, {"10s": "1s"})
    stream = RawStream(inbox.port, f"{STREAM}?token={inbox.token(1)}", Origin=WEB)
    stream.read_until(lambda: b"\n\n" in stream.body, 10, "the first event")
    head = stream.head.lower()
    assert head.startswith("http/1.1 200 ") and "content-type: text/event-stream" in head
    assert f"access-control-allow-origin: {WEB}" in head
    began = inbox.add_notification(1, "New approver group created successfully.")
    stream.read_until(lambda: bare(stream.body).endswith(HEARTBEAT * 2), 10, "heartbeats")
    stream.close()
    hello, notification, *heartbeats, rest = bare(stream.body).split(b"\n\n")
    assert hello == b'data: {"message": "SSE connection established"}'
    sent = json.loads(notification.removeprefix(b"data: "))
    assert notification == b'data: {"id": %d, "message": "New approver group created successfully."}' % sent["id"]
    assert abs(sent["id"] - began * 1000) < 60_000
    assert (set(heartbeats), rest) == ({b"data: {}"}, b"")


def test_strangers_are_refused(inbox) -> None:
    url = f"http://127.0.0.1:{inbox.port}{STREAM}"
    for token in ("", inbox.token(1, -60), inbox.token(1, kind="refresh"), inbox.token(1)[:-4] + "AAAA"):
        answer = requests.get(url, {"token": token}, headers={"Origin": WEB}, timeout=60)
        assert answer.status_code == 401, token
        assert answer.headers["Access-Control-Allow-Origin"] == WEB


def test_idle_users_cost_next_to_nothing(inbox, capsys) -> None:
    restart(inbox, {})
    streams = [RawStream(inbox.port, f"{STREAM}?token={inbox.token(user)}") for user in range(100, 200)]
    for stream in streams:
        stream.read_until(lambda stream=stream: b"established" in stream.body, 10, "the first event")
    cost = idle_cost({"sidestream": inbox.sidestream, "app": inbox.app})
    streams[0].read_until(lambda: HEARTBEAT in streams[0].body, 15, "a heartbeat")
    for stream in streams:
        stream.close()
    assert cost["sidestream"] < 0.5
    hour = 360 * len(b"a\r\n" + HEARTBEAT + b"\r\n")
    with capsys.disabled():
        figures = f"{cost['sidestream']:.3f} % and {cost['app']:.3f} % (app) for 100 idle users, {hour} B/h each"
        print(f"\ndjango-redis-inbox: {figures}")


def test_a_disconnected_user_stays_out(inbox, tabs) -> None:
    refused, began = len(refusals(inbox)), time.time()
    assert inbox.publisher("POST", "/disconnect", {"user": 1, "block": "1m"}) == {"disconnected": 2}
    # Each tab reloads every 5 s, as its component does after any error, and is refused each time.
    wait_for(lambda: len(refusals(inbox)) >= refused + 2, 20, "the pages come back, and are refused")
    assert inbox.opened(1, began) == [] and inbox.streams(1) == 0


def test_the_packages_are_those_that_are_tested() -> None:
    stated = (EXAMPLES / "django-redis-inbox/requirements.txt").read_text().split()
    assert len(stated) == 5 and set(stated) <= set((HERE / "requirements.txt").read_text().split())
