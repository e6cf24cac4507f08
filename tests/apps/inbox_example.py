"""examples/django-redis-inbox as it runs: Django, Sidestream and the page's server; and what its tests do to it."""

import json
import secrets
import shutil
import subprocess
import sys
import time

import jwt
import requests
from deployment import PASSWORD, free_port, wait_for
from example import Example, Tab, chromium, next_build, next_environment
from npm import packages
from selenium.webdriver.common.by import By
from sources import RedisServer

STREAM = "/api/communication/notifications/sse/"
WEB = "http://localhost:3000"  # the page's origin, which Chromium takes to a free port
HELLO = "SSE connection established"
HEARTBEAT = b"data: {}\n\n"
CREATE_USERS = f"""
from django.contrib.auth.models import User
for name in ("alice", "bob"):
    User.objects.create_user(name, password={PASSWORD!r})
"""
# The app's own function in a process of the app: a user and a message in, and the time at which it was called back.
PUBLISHER = """
import json, sys, time
from inbox.notifications import add_notification
for line in sys.stdin:
    user, message = json.loads(line)
    began = time.time()
    add_notification(user_id=user, message=message)
    print(began, flush=True)
"""


class Inbox(Example):
    """Django, the page's server, and Sidestream between them and the browsers."""

    def __init__(self) -> None:
        super().__init__("django-redis-inbox")
        self.django_port, self.web_port = free_port(), free_port()
        self.environment |= {
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
            "JWT_SECRET": secrets.token_urlsafe(50),
            "INBOX_DATABASE": str(self.folder / "inbox.sqlite3"),
        }
        self.pages = self.source / "web"
        self.web = next_build(self.pages)
        self.changes = {"0.0.0.0:8000": f"127.0.0.1:{self.port}", "127.0.0.1:8001": f"127.0.0.1:{self.django_port}"}
        self.publishing: subprocess.Popen | None = None
        self.app_folder = self.source

    def __enter__(self) -> "Inbox":
        try:
            self.prepare()
            self._manage("migrate", "--verbosity", "0")
            self._manage("shell", "--verbosity", "0", "--command", CREATE_USERS)
            self.start_app()
            next_js = str(packages(self.pages) / "node_modules/.bin/next")
            self.environment = {**next_environment(), **self.environment}
            command = [next_js, "start", "--hostname", "127.0.0.1", "--port", str(self.web_port)]
            self.start("web", command, self.web_port, cwd=self.web)
            self.configure(self.changes)
            self.start_sidestream()
            command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", PUBLISHER]
            options = {"cwd": self.app_folder, "env": self.environment, "text": True}
            options |= {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            with (self.folder / "publisher.log").open("w") as log:
                self.publishing = subprocess.Popen(command, stderr=log, **options)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *details: object) -> None:
        if self.publishing:
            self.publishing.stdin.close()
            self.publishing.wait(10)
            self.publishing.stdout.close()
        super().__exit__(*details)

    def prepare(self) -> None:
        """What has to be there before the app."""

    def start_app(self) -> None:
        """Starts Django and waits until it answers."""
        command = [sys.executable, "-m", "uvicorn", "inbox.asgi:application", "--app-dir", str(self.app_folder)]
        command += ["--port", str(self.django_port)]
        self.app = self.start("django", command, self.django_port, cwd=self.folder)

    def unread(self, user: int) -> list[str]:
        """What a user has not read."""
        return [event["data"]["message"] for event in self.publisher("GET", f"/inbox/{user}")["events"]]

    def read_all(self, user: int) -> None:
        """Leaves nothing unread of what an earlier test has sent."""
        events = self.publisher("GET", f"/inbox/{user}")["events"]
        if events:
            assert self.publisher("POST", f"/inbox/{user}/read", {"read_up_to": events[-1]["id"]}) == {"unread": 0}

    def add_notification(self, user: int, message: str) -> float:
        """Calls the app's function; the time at which it was called."""
        self.send(user, message)
        return self.sent()

    def send(self, user: int, message: str) -> None:
        """Lets the app call its function."""
        self.publishing.stdin.write(json.dumps([user, message]) + "\n")
        self.publishing.stdin.flush()

    def sent(self) -> float:
        """Waits until it has returned; the time at which it was called."""
        return float(self.publishing.stdout.readline())

    def browser(self, profile):
        """A Chromium for which the document's addresses lead here; the API by way of the relay."""
        to = (("127.0.0.1:8000", self.relay.port), ("localhost:3000", self.web_port))
        return chromium(profile, *(f"MAP {host} 127.0.0.1:{port}" for host, port in to))

    def token(self, user: int, lifetime: float = 3600, kind: str = "access") -> str:
        """A token as SimpleJWT makes them."""
        now = int(time.time())
        claims = {"token_type": kind, "exp": now + lifetime, "iat": now, "jti": secrets.token_hex(16)}
        claims["user_id"] = str(user)
        return jwt.encode(claims, self.environment["JWT_SECRET"], "HS256")

    def _manage(self, *arguments: str) -> None:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=self.app_folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


class RedisInbox(Inbox):
    """The same with the app's Redis code as it was, and a Redis."""

    def __init__(self) -> None:
        super().__init__()
        self.redis = RedisServer("--notify-keyspace-events", "Kl")
        self.environment["REDIS_PORT"] = str(self.redis.port)
        self.changes["127.0.0.1:6379"] = f"127.0.0.1:{self.redis.port}"

    def prepare(self) -> None:
        """Starts Redis, and puts the app's own code back."""
        self.redis.__enter__()
        self.app_folder = self.folder / "app"
        shutil.copytree(self.source, self.app_folder, ignore=shutil.ignore_patterns("web", "node_modules"))
        shutil.copy(self.app_folder / "with-redis/notifications.py", self.app_folder / "inbox")
        self.source = self.app_folder / "with-redis"

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        self.redis.__exit__()

    def unread(self, user: int) -> list[str]:
        """What the app's own view would send now."""
        read = self.redis.client.smembers(f"read_notifications:{user}")
        queue = [json.loads(text) for text in self.redis.client.lrange(f"notifications:{user}", 0, -1)]
        return [notification["message"] for notification in queue if str(notification["id"]) not in read]

    def read_all(self, user: int) -> None:
        """Leaves nothing unread of what an earlier test has sent."""
        for text in self.redis.client.lrange(f"notifications:{user}", 0, -1):
            self.redis.client.sadd(f"read_notifications:{user}", json.loads(text)["id"])
        super().read_all(user)


def restart(inbox: Inbox, changes: dict[str, str]) -> None:
    """Starts Sidestream again, with another configuration."""
    inbox.sidestream.stop()
    inbox.configure({**inbox.changes, **changes})
    inbox.start_sidestream()


def create_group(inbox: Inbox, name: str) -> requests.Response:
    """What the document's curl does, with a token of the app."""
    url, form = f"http://127.0.0.1:{inbox.port}", {"username": name, "password": PASSWORD}
    token = requests.post(f"{url}/api/token/", json=form, timeout=60).json()["access"]
    bearer = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{url}/api/approval/approver-groups/", json={"name": "Test Group"}, headers=bearer, timeout=60)


def leave(inbox: Inbox, tab: Tab) -> Tab:
    """Closes a tab; a new one, which is nowhere. A page that is left may live on in the browser's cache."""
    browser = tab.browser
    browser.switch_to.new_window("tab")
    new = browser.current_window_handle
    tab.browser.close()
    browser.switch_to.window(new)
    wait_for(lambda: inbox.streams(1) == 0, 10, "the stream is gone")
    return Tab(browser, new)


def refresh(inbox: Inbox, tab: Tab) -> None:
    """Loads the page again, and waits for its stream."""
    began = time.time()
    tab.browser.refresh()
    wait_for(lambda: inbox.opened(1, began), 10, "the stream of the new page")
    tab.shows(HELLO)


def sign_in(browser, name: str) -> None:
    """Fills in the page's form."""
    browser.get(WEB)
    wait_for(lambda: browser.find_elements(By.NAME, "username"), 10, "the form")
    browser.find_element(By.NAME, "username").send_keys(name)
    browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    browser.find_element(By.TAG_NAME, "button").click()
    wait_for(lambda: browser.find_elements(By.ID, "sign-out"), 10, "the page of who is signed in")


def notifications(tab: Tab) -> list[str]:
    """The page's list."""
    return tab.run("return [...document.querySelectorAll('li')].map((item) => item.textContent)")


def refusals(inbox: Inbox) -> list[dict]:
    """The requests for the stream that were refused."""
    return [line for line in inbox.log(status=401) if line["target"].startswith(STREAM)]
