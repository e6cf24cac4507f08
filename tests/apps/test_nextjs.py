"""A Next.js app as a user would have it, built and started by Next.js itself, with Sidestream in front of it."""

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from deployment import BINARY, HERE, Process, accepts, free_port, wait_for
from example import next_build, next_environment
from npm import packages
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

APP = HERE / "nextjs"


@dataclass
class Shop:
    """The running app, as Sidestream's clients see it."""

    port: int

    def send(self, method: str, path: str, body: object = None, **headers: str) -> HTTPResponse:
        """A request of the user 42, on a connection of its own; the answer with its body still to be read."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Cookie": "user=42", **headers})
        return connection.getresponse()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """Starts the app as it was built, and Sidestream with the app's own configuration on free ports."""
    assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
    modules = packages(APP)
    # Beside node_modules, where Node looks for them.
    folder = Path(tempfile.mkdtemp(prefix="shop-", dir=modules))
    processes: list[Process] = []
    try:
        shutil.copytree(next_build(APP), folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cache"))
        port, app_port = free_port(), free_port()
        config = (APP / "sidestream.toml").read_text()
        for stated, free in (("0.0.0.0:8080", f"127.0.0.1:{port}"), ("127.0.0.1:3000", f"127.0.0.1:{app_port}")):
            assert config.count(stated) == 1
            config = config.replace(stated, free)
        (folder / "sidestream.toml").write_text(config)
        # The publish socket's own path may be too long here, so both sides use one relative to where they run.
        environment = {
            **next_environment(),
            "SIDESTREAM_SECRET": secrets.token_urlsafe(50),
            "SIDESTREAM_SOCKET": "publish.sock",
        }
        options = {"cwd": folder, "env": environment}
        next_js = str(modules / "node_modules/.bin/next")
        start = [next_js, "start", "--hostname", "127.0.0.1", "--port", str(app_port)]
        for command, door in ((start, app_port), ([str(BINARY), "run"], port)):
            process = Process(command, folder / f"{door}.log", **options)
            processes.append(process)
            process.wait_until(lambda door=door: accepts(("127.0.0.1", door)), f"{command[0]} accepts")
        yield Shop(port)
    finally:
        for process in reversed(processes):
            process.kill()
            print(process.log.read_text()[-4000:])  # pytest shows this below a test that failed
        shutil.rmtree(folder)


def test_an_ordinary_request_reaches_the_app_as_it_was_sent(shop: Shop) -> None:
    answer = shop.send("GET", "/api/me", **{"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"})
    assert answer.status == 200
    expected = {"user": "42", "host": f"127.0.0.1:{shop.port}", "proto": "http", "address": "127.0.0.1"}
    assert json.load(answer) == expected
    assert shop.send("GET", "/nowhere").status == 404


def test_a_streamed_answer_is_passed_on_part_by_part(shop: Shop) -> None:
    answer = shop.send("GET", "/api/slow")
    assert answer.readline() == b"first\n", "the first part, while the app holds the second back"
    assert shop.send("POST", "/api/slow").status == 204
    assert answer.read() == b"second\n"


def test_a_push_appears_in_the_page(shop: Shop, browser: Chrome) -> None:
    browser.get(f"http://127.0.0.1:{shop.port}/")
    browser.find_element(By.NAME, "user").send_keys("42")
    browser.find_element(By.TAG_NAME, "button").click()  # a server action, which Next.js refuses from a foreign origin
    wait_for(lambda: state(browser) == "open", 15, "the page's stream")

    browser.find_element(By.TAG_NAME, "button").click()
    wait_for(lambda: notifications(browser) == ["Order: Teapot"], 10, "the notification of the page's own order")
    order = shop.send("POST", "/api/orders", {"item": "Kettle"})
    assert json.load(order) == {"item": "Kettle", "delivered": 1}
    wait_for(lambda: notifications(browser)[1:] == ["Order: Kettle"], 10, "the notification of an order from elsewhere")
    other = shop.send("POST", "/api/orders", {"item": "Cup"}, Cookie="user=43")
    assert json.load(other) == {"item": "Cup", "delivered": 0}, "another user's"


def state(browser: Chrome) -> str | None:
    """What the page says of its stream."""
    return browser.execute_script("return document.getElementById('state')?.value")


def notifications(browser: Chrome) -> list[str]:
    """The page's notifications in its order."""
    return browser.execute_script("return [...document.querySelectorAll('#notifications li')].map(i => i.textContent)")
