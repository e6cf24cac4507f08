"""examples/django-queues in Chromium: Django behind Sidestream, and a page of another origin with the document's own code."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import requests
from console import Console
from deployment import PASSWORD, wait_for
from example import Example, RawStream, Tab, bare, chromium, idle_cost, latencies, median, two_tabs
from front_end import served, vite_build
from selenium.webdriver.common.by import By

PAGE, API = "http://localhost:3000", "http://localhost:8000"  # as built into the page
STREAM, TRIGGER = "/api/notifications/sse/", "/api/notifications/trigger/"
ALICE, BOB, CAROL = 1, 2, 3  # carol is staff
PING = b'data: {"type": "ping"}\n\n'  # what the document's server sent every 30 s
RECONNECT = 5.0  # seconds after which the document's code connects again


class Shop(Example):
    """The app and Sidestream as they would be deployed, with the page's server and a console in the app."""

    def __init__(self) -> None:
        super().__init__("django-queues")
        self.backend = self.source / "backend"
        self.environment |= {
            "JWT_SECRET": secrets.token_urlsafe(50),
            "SHOP_DATA": str(self.folder),
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "PYTHONPATH": str(self.backend),
        }
        self.changes = {"0.0.0.0:8000": f"127.0.0.1:{self.port}"}
        self.console: Console | None = None
        self.page = vite_build(self.source / "frontend")

    def __enter__(self) -> "Shop":
        try:
            subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=self.environment, check=True)
            command = [sys.executable, "-c", _CONSOLE]
            self.console = Console(command, self.folder / "console.log", self.folder, self.environment)
            self.ask(_USERS.format(password=PASSWORD))
            listener = self.folder / "gunicorn.sock"
            command = [sys.executable, "-m", "gunicorn", "shop.wsgi", "--workers", "1", "--no-control-socket"]
            command += ["--bind", f"unix:{listener}"]
            self.app = self.start("app", command, listener, cwd=self.folder)
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

    def ask(self, expression: str) -> list:
        """What an expression of Python is in the app, after the time at which it began: `[began, value]`."""
        return self.console.ask(expression)

    def notify(self, user: int, message: str) -> float:
        """Puts a notification into the database and pushes it, as an order does; the time at which that began."""
        return self.ask(f"views.notify({user}, 'Parcel', {message!r})")[0]

    def token(self, user: int, seconds: int = 3600) -> str:
        """An access token as the app makes them."""
        return self.ask(f"token({user}, {seconds})")[1]

    def refusals(self) -> int:
        """How often somebody was refused a stream for want of a good token."""
        return sum(line["target"].startswith(STREAM) for line in self.log(status=401))

    def opens(self) -> int:
        """How many streams alice has ever opened."""
        return len(self.log(kind="open", user=str(ALICE)))

    def rules(self, page: int) -> str:
        """Where the browser finds the two origins."""
        return f"MAP localhost:8000 127.0.0.1:{self.relay.port}, MAP localhost:3000 127.0.0.1:{page}"


_CONSOLE = """
import datetime, json, sys, time
import django
django.setup()
from django.contrib.auth.models import User
from users import views
from users.serializers import TokenSerializer

def token(user, seconds):
    access = TokenSerializer.get_token(User.objects.get(pk=user)).access_token
    access.set_exp(lifetime=datetime.timedelta(seconds=seconds))
    return str(access)

for line in sys.stdin:
    began = time.time()
    print(json.dumps([began, eval(json.loads(line))], default=str), flush=True)
"""
_USERS = """[
    User.objects.create_user(name, password={password!r}, is_staff=name == 'carol') for name in ('alice', 'bob', 'carol')
]"""


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        yield shop


@pytest.fixture(scope="module")
def page(shop: Shop) -> Iterator[int]:
    with served(shop.page) as port:
        yield port


@pytest.fixture(scope="module")
def both(shop: Shop, page: int, tmp_path_factory) -> Iterator[list[Tab]]:
    """Two tabs of one browser."""
    with chromium(tmp_path_factory.mktemp("alice"), shop.rules(page)) as browser:
        browser.get(PAGE)
        yield two_tabs(browser, PAGE)


@pytest.fixture
def tabs(shop: Shop, both: list[Tab]) -> list[Tab]:
    """Two tabs of alice, signed in anew."""
    for tab in both:
        tab.run("localStorage.clear()")
        tab.browser.refresh()
    for tab in both:
        tab.shows("Sign in")
    wait_for(lambda: shop.streams(ALICE) == 0, 10, "no streams of an earlier test")
    before = shop.opens()
    sign_in(both[0], "alice")
    both[1].browser.refresh()
    wait_for(lambda: shop.streams(ALICE) == 2 and shop.opens() >= before + 2, 10, "the streams of both tabs")
    for tab in both:
        open_bell(tab)
        tab.run("window.sameDocument = true")
    return both


def test_a_push_appears_in_both_tabs_and_nowhere_else(shop, page, tabs, tmp_path, capsys) -> None:
    with chromium(tmp_path / "bob", shop.rules(page)) as browser:
        browser.get(PAGE)
        bob = Tab(browser, browser.current_window_handle)
        sign_in(bob, "bob")
        open_bell(bob)
        wait_for(lambda: shop.streams(BOB) == 1, 10, "bob's stream")

        took = latencies(tabs, lambda text: shop.notify(ALICE, text))
        assert median(took) < 2000, "seconds would be polling; the number is printed"
        for tab in tabs:
            wait_for(lambda tab=tab: badge(tab) == 50, 10, "all of them behind the bell")
        tabs[0].run("[...document.querySelectorAll('.notifications li')].slice(0, 48).forEach((one) => one.click())")
        wait_for(lambda: badge(tabs[1]) == 2, 10, "what is read in one tab is read in the other, by its storage event")

        order(tabs[0], "Teapot")
        for tab in tabs:
            tab.shows("Teapot is on its way")
        tabs[0].browser.find_element(By.CSS_SELECTOR, "#note input").send_keys("buy milk")
        tabs[0].browser.find_element(By.CSS_SELECTOR, "#note button").click()
        for tab in tabs:
            wait_for(lambda tab=tab: "buy milk" in text_of(tab, ".toasts"), 10, "the note, by the trigger")
            wait_for(lambda tab=tab: "buy milk" in text_of(tab, ".notifications"), 10, "the note behind the bell")

        pictures = [tabs[1].show(tmp_path / "django-queues.png")]
        shop.notify(BOB, "for bob")
        bob.shows("for bob")
        wait_for(lambda: badge(bob) == 1, 10, "one behind bob's bell")
        assert not any(word in bob.text for word in ("push", "Teapot is", "milk")), bob.text
        pictures.append(bob.show(tmp_path / "django-queues-bob.png"))
        assert not any("for bob" in tab.text for tab in tabs)
    with capsys.disabled():
        print(f"\ndjango-queues: median latency {median(took)} ms", *pictures)


def test_the_documents_console_lines_work_from_the_other_origin(shop, tabs) -> None:
    # The lines of the summary, as they are; port 3000 to port 8000.
    answer = tabs[0].browser.execute_async_script(
        """
        const done = arguments[0];
        fetch('http://localhost:8000/api/notifications/trigger/', {
          method: 'POST',
          headers: {
            'Content-Type': 'application/json',
            'Authorization': 'Bearer ' + localStorage.getItem('token')
          },
          body: JSON.stringify({
            user_id: 1,
            title: "Test SSE",
            message: "Real-time works!",
            type: "info"
          })
        }).then(async (response) => done([response.status, await response.json()]), (error) => done([String(error)]));
        """
    )
    assert answer[0] == 200 and answer[1]["delivered"] == 2, answer
    for tab in tabs:
        tab.shows("Real-time works!")
    assert tabs[0].run("return sseManager.eventSource.readyState") == 1


def test_after_a_cut_the_page_has_what_happened_meanwhile(shop, tabs) -> None:
    without_focus(tabs)
    shop.relay.cut()
    wait_for(lambda: shop.streams(ALICE) == 0, 10, "the streams are gone")
    cut = time.monotonic()
    shop.notify(ALICE, "missed one.")
    shop.notify(ALICE, "missed two.")
    wait_for(lambda: time.monotonic() > cut + 2, 5, "two seconds without a network")
    opened = shop.opens()
    shop.relay.mend()
    for tab in tabs:
        # Its own code connects anew and loads its notifications when it is greeted.
        wait_for(lambda tab=tab: "missed one." in text_of(tab, ".notifications"), RECONNECT + 10, "what was missed")
        assert text_of(tab, ".notifications").count("missed two.") == 1
        assert tab.run("return window.sameDocument"), "the page was reloaded"
    wait_for(lambda: shop.opens() == opened + 2 and shop.streams(ALICE) == 2, 10, "one stream a tab")


def test_after_a_restart_the_page_has_what_happened_meanwhile(shop, tabs) -> None:
    without_focus(tabs)
    shop.sidestream.kill()
    shop.notify(ALICE, "nobody listens.")  # does not raise
    assert "Notification to user 1 was not pushed" in shop.console.log.read_text()
    shop.start_sidestream()
    for tab in tabs:
        wait_for(lambda tab=tab: "nobody listens." in text_of(tab, ".notifications"), RECONNECT + 10, "what was missed")
        assert tab.run("return window.sameDocument"), "the page was reloaded"
    shop.notify(ALICE, "all is well.")
    for tab in tabs:
        wait_for(lambda tab=tab: "all is well." in text_of(tab, ".toasts"), 10, "a push after the restart")


def test_signing_out_ends_the_streams_of_all_tabs(shop, tabs) -> None:
    opened = shop.opens()
    tabs[0].run("document.querySelector('#sign-out').click()")
    for tab in tabs:
        tab.shows("Sign in")  # the other one by its storage event
    wait_for(lambda: shop.streams(ALICE) == 0, 10, "the streams are gone")
    assert shop.opens() == opened
    for tab in tabs:
        assert tab.run("return [sseManager.eventSource, sseManager.reconnectTimeout]") == [None, None], "nor will it come back"


def test_an_expired_token_ends_its_stream(shop, tabs) -> None:
    tabs[1].run("sseManager.disconnect()")
    refused = shop.refusals()
    opened = shop.opens()
    tabs[0].run("localStorage.setItem('token', arguments[0]); sseManager.connect(1)", shop.token(ALICE, 8))
    wait_for(lambda: shop.log(kind="close", user=str(ALICE), reason="expired"), 15, "the stream ends with its token")
    wait_for(lambda: shop.refusals() > refused, RECONNECT + 10, "the page is refused")
    assert shop.opens() == opened + 1 and shop.streams(ALICE) == 0
    tabs[0].run("window.dispatchEvent(new Event('focus'))")
    tabs[0].shows("Sign in")  # its fallback meets the same refusal


def test_a_disconnected_user_stays_out(shop, tabs) -> None:
    refused = shop.refusals()
    opened = shop.opens()
    assert shop.publisher("POST", "/disconnect", {"user": ALICE, "block": "20s"}) == {"disconnected": 2}
    wait_for(lambda: shop.refusals() >= refused + 2, RECONNECT + 10, "both tabs are refused")
    assert shop.opens() == opened and shop.streams(ALICE) == 0
    # When the block is over, and only then, the page's own code is let in again.
    wait_for(lambda: shop.streams(ALICE) == 2, 10 + RECONNECT, "the block is over")


def test_the_trigger_answers_as_the_view_did(shop) -> None:
    def post(path: str, token: str, **body: object) -> requests.Response:
        headers = {"Origin": PAGE, **({"Authorization": f"Bearer {token}"} if token else {})}
        answer = requests.post(f"http://127.0.0.1:{shop.port}{path}", json=body, headers=headers, timeout=60)
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE, "the page may read why"
        return answer

    alice, carol = shop.token(ALICE), shop.token(CAROL)
    assert post(TRIGGER, alice, user_id=ALICE, title="a", message="b", type="info").json()["delivered"] >= 0
    assert post(TRIGGER, alice, user_id=ALICE, message="b").status_code == 200, "the title is optional"
    nameless = post(TRIGGER, alice, user_id=ALICE, title="a")
    assert nameless.status_code == 400 and nameless.json()["field"] == "/message"
    assert post(TRIGGER, "", user_id=ALICE, message="b").status_code == 401
    refresh = shop.ask(f"str(TokenSerializer.get_token(User.objects.get(pk={ALICE})))")[1]
    assert post(TRIGGER, refresh, user_id=ALICE, message="b").status_code == 401, "a refresh token"
    assert post(TRIGGER, alice, user_id=BOB, message="b").status_code == 403, "users notify themselves"
    assert post("/api/staff" + TRIGGER[4:], alice, user_id=BOB, message="b").status_code == 401, "alice is not staff"
    assert post("/api/staff" + TRIGGER[4:], carol, user_id=BOB, message="b").status_code == 200, "carol is"


def test_the_bytes_of_the_stream(shop) -> None:
    shop.sidestream.stop()
    shop.configure({**shop.changes, 'every = "30s"': 'every = "1s"'})
    shop.start_sidestream()
    stream = RawStream(shop.port, f"{STREAM}?token={shop.token(BOB)}")
    stream.read_until(lambda: bare(stream.body).count(PING) >= 2, 15, "pings")
    assert stream.head.startswith("HTTP/1.1 200 ") and "content-type: text/event-stream" in stream.head.lower()
    data = {"type": "notification", "title": "Größe", "message": 'A "quoted" line\nand another'}
    shop.ask(f"views.send_notification_to_user({BOB}, {data!r})")
    stream.read_until(lambda: b"notification" in stream.body and stream.body.endswith(b"\n\n"), 10, "the push")
    greeting, rest = bare(stream.body).split(b"\n\n", 1)
    assert greeting == b'data: {"type": "connected"}'
    assert rest.replace(PING, b"") == f"data: {json.dumps(data)}\n\n".encode(), "as the document's view wrote it"
    stream.close()
    shop.sidestream.stop()
    shop.configure(shop.changes)
    shop.start_sidestream()


def test_idle_users_cost_next_to_nothing(shop, capsys) -> None:
    shop.ask("[User.objects.create_user(f'user{n}') for n in range(100)]")
    streams = [RawStream(shop.port, f"{STREAM}?token={shop.token(user)}") for user in range(4, 104)]
    for stream in streams:
        stream.read_until(lambda stream=stream: b"connected" in stream.body, 10, "the greeting")
    cost = idle_cost({"sidestream": shop.sidestream, "app": shop.app})
    for stream in streams:
        stream.close()
    assert cost["sidestream"] < 0.3, "far below on an idle machine; the README has the number"
    hour = 120 * len(b"%x\r\n" % len(PING) + PING + b"\r\n")
    with capsys.disabled():
        print(f"\ndjango-queues: {cost['sidestream']:.3f} %, {cost['app']:.3f} % (app) for 100 idle users, {hour} B/h each")


def sign_in(tab: Tab, name: str) -> None:
    """Fills in the page's form."""
    tab.shows("Sign in")
    tab.browser.find_element(By.NAME, "username").send_keys(name)
    tab.browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    tab.browser.find_element(By.CSS_SELECTOR, "form button").click()
    tab.shows("Sign out")


def open_bell(tab: Tab) -> None:
    """Shows the list of notifications."""
    tab.shows("Sign out")
    tab.run("document.querySelector('.bell').click()")


def without_focus(tabs: list[Tab]) -> None:
    """Takes away the page's fallback on focus, which each look at a tab would set off."""
    for tab in tabs:
        tab.run("window.addEventListener('focus', (event) => event.stopImmediatePropagation(), true)")


def badge(tab: Tab) -> int:
    """The number at the bell."""
    return int(tab.run("return document.querySelector('.badge')?.textContent ?? 0"))


def text_of(tab: Tab, selector: str) -> str:
    """The text of a part of the page."""
    return str(tab.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))


def order(tab: Tab, item: str) -> None:
    """Orders by the page's button."""
    tab.run("[...document.querySelectorAll('#shop button')].find((one) => one.textContent === arguments[0]).click()", item)

