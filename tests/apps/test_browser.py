"""The shop's page in Chromium over HTTPS and HTTP/2: notifications in the DOM without a reload, also after a cut."""

import hashlib
from pathlib import Path

import pytest
from deployment import PASSWORD, Deployment, Visitor, wait_for
from relay import Relay
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By


def test_notifications_appear_and_survive_a_cut(
    shop: Deployment, browser: Chrome, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    alice, bob = shop.login("alice"), shop.login("bob")
    with Relay(shop.port) as relay:
        sign_in(browser, relay.port)
        assert browser.execute_script("return performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
        browser.execute_script("window.sameDocument = true")

        browser.find_element(By.CSS_SELECTOR, "#order button").click()
        wait_for(lambda: notifications(browser), 10, "the notification of the order that the page made")
        expected = notifications(browser)
        assert len(expected) == 1 and expected[0].endswith(": Teapot")
        expected.append(order(alice, "Kettle"))
        wait_for(lambda: notifications(browser) == expected, 10, "the notification of an order from elsewhere")

        relay.cut()
        wait_for(lambda: state(browser) == "closed", 10, "the page sees the cut")
        for item in ("Cup", "Saucer", "Spoon"):
            order(bob, item)
            expected.append(order(alice, item))
        wait_for(lambda: relay.refused, 20, "the browser tries again while the network is down")
        relay.mend()
        wait_for(lambda: len(notifications(browser)) >= len(expected), 20, "what was missed")

        expected.append(order(alice, "Tray"))
        wait_for(lambda: expected[-1] in notifications(browser), 10, "a notification after the cut")
        assert notifications(browser) == expected, "each exactly once, in order, and nothing of bob's"
        assert browser.execute_script("return window.sameDocument"), "the page was reloaded"

        picture = tmp_path / "shop.png"
        assert browser.save_screenshot(str(picture))
        with capsys.disabled():
            print(f"\nscreenshot: {picture}")

    assert shop.sidestream is not None
    log = shop.sidestream.log
    wait_for(lambda: "/events" in log.read_text(), 5, "the stream in the access log")
    assert "eyJ" not in log.read_text(), "a token in the log"


def test_uploads_over_http2(shop: Deployment, browser: Chrome) -> None:
    sign_in(browser, shop.port)
    browser.set_script_timeout(60)
    fits = browser.execute_async_script(UPLOAD, 20 * 1024 * 1024)
    assert fits == [200, {"length": 20 * 1024 * 1024, "sha256": hashlib.sha256(bytes(20 * 1024 * 1024)).hexdigest()}]
    assert browser.execute_async_script(UPLOAD, 26 * 1024 * 1024) == [413, None], "more than the upstream's max_body"
    assert state(browser) == "open", "the stream on the same connection"


UPLOAD = """
    const [length, done] = arguments;
    const body = new FormData(document.getElementById("order"));
    body.append("file", new Blob([new Uint8Array(length)]));
    fetch("/upload", { method: "POST", body })
      .then(async (response) => done([response.status, response.ok ? await response.json() : null]))
      .catch((error) => done([String(error), null]));
"""


def sign_in(browser: Chrome, port: int) -> None:
    """Signs alice in by hand and waits for the page's stream."""
    browser.get(f"https://localhost:{port}/")
    browser.find_element(By.NAME, "username").send_keys("alice")
    browser.find_element(By.NAME, "password").send_keys(PASSWORD)
    browser.find_element(By.TAG_NAME, "button").click()
    wait_for(lambda: state(browser) == "open", 15, "the page's stream")


def order(visitor: Visitor, item: str) -> str:
    """Orders an item from elsewhere; the title of its notification."""
    return f"Order {visitor.order(item)['order']}: {item}"


def notifications(browser: Chrome) -> list[str]:
    """The page's notifications in its order."""
    return browser.execute_script("return [...document.querySelectorAll('#notifications li')].map(i => i.textContent)")


def state(browser: Chrome) -> str | None:
    """What the page says of its stream."""
    return browser.execute_script("return document.getElementById('state')?.value")
