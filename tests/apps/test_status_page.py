"""The status page in Chromium, over a Sidestream under load: its numbers move, and its buttons do what they say."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from busy_site import TOKEN, USERS, BusySite
from conftest import chromium
from deployment import wait_for
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

OPEN = 25  # streams
LIVE = "return document.getElementById('state').textContent"
# What leaves its box to the right; a table that scrolls by itself may be wider.
TOO_WIDE = """
    return [...document.querySelectorAll("body *")]
      .filter((each) => each.getClientRects().length && !each.closest("svg, .scroll, .hidden, .skip, thead"))
      .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
      .map((each) => each.outerHTML.slice(0, 80));
"""
# Controls without a name, and text that is too faint to read (WCAG 2, 4.5 to 1).
UNNAMED = """
    return [...document.querySelectorAll("button, input, select, textarea, a")]
      .filter((each) => !each.ariaLabel && !each.labels?.length && !each.textContent.trim())
      .map((each) => each.outerHTML);
"""
FAINT = """
    const light = (color) => {
      const [red, green, blue] = color.match(/[0-9.]+/g).map((part) => part / 255);
      const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
      return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    };
    const ground = (each) => {
      for (let at = each; at; at = at.parentElement) {
        const color = getComputedStyle(at).backgroundColor;
        if (color !== "rgba(0, 0, 0, 0)") return color;
      }
      return "rgb(255, 255, 255)";
    };
    return [...document.querySelectorAll("body *")]
      .filter((each) => each.getClientRects().length && !each.disabled && !each.closest("svg"))
      .filter((each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
      .map((each) => {
        const both = [light(getComputedStyle(each).color), light(ground(each))];
        return [(Math.max(...both) + 0.05) / (Math.min(...both) + 0.05), each.outerHTML.slice(0, 80)];
      })
      .filter(([contrast]) => contrast < 4.5);
"""


@pytest.fixture(scope="module")
def site() -> Iterator[BusySite]:
    """With streams of several users, and load."""
    with BusySite() as busy:
        for place in range(OPEN):
            busy.open(USERS[place % len(USERS)], ["", "news", "news,board:sales"][place % 3])
        busy.load(20)
        yield busy


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chrome]:
    """One for all tests of this file."""
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver
        # What was refused or cut on purpose is told as an error of the network. Nothing else is: no script has failed, and
        # the policy of the page has refused nothing.
        complaints = [entry for entry in driver.get_log("browser") if entry["source"] != "network"]
        assert complaints == []


def show(browser: Chrome, site: BusySite) -> None:
    """Opens the page anew and waits until it is live."""
    browser.get(f"http://127.0.0.1:{site.admin}/")
    wait_for(lambda: browser.execute_script(LIVE) == "live", 5, "the page's own stream")


def text(browser: Chrome, selector: str) -> str:
    """What is shown there."""
    return browser.find_element(By.CSS_SELECTOR, selector).text


def becomes(browser: Chrome, selector: str, fact: Callable[[str], object], what: str) -> None:
    """Waits until the text there is as it should be."""
    wait_for(lambda: fact(text(browser, selector)), 6, f"{what} in {selector}")


def unlock(browser: Chrome, token: str = TOKEN) -> None:
    """Types the token, as a person would."""
    field = browser.find_element(By.ID, "token")
    field.clear()
    field.send_keys(token, Keys.ENTER)


def rows(browser: Chrome) -> list[str]:
    """The users of the streams that are shown."""
    return browser.execute_script("return [...document.querySelectorAll('#found tbody th')].map((c) => c.textContent)")


def test_numbers_move_without_a_token(browser: Chrome, site: BusySite) -> None:
    show(browser, site)
    plots = browser.find_elements(By.CSS_SELECTOR, "#plots article")
    titles = ["Streams", "Requests", "Deliveries", "Request time", "Delivery time", "Evictions"]
    assert [plot.find_element(By.TAG_NAME, "h3").text for plot in plots] == titles
    value = "#plots article:nth-child({}) .value:first-child b"
    becomes(browser, value.format(1), lambda shown: shown == str(OPEN), "all streams")
    for place in (2, 3):
        becomes(browser, value.format(place), lambda shown: shown not in "–0" and float(shown) > 1, "a rate")
    for place in (4, 5):
        becomes(browser, value.format(place), lambda shown: shown.endswith(("ms", " s")), "a time")
    path = "return document.querySelector('#plots article:nth-child(2) .path.main').getAttribute('d')"
    before = browser.execute_script(path)
    wait_for(lambda: browser.execute_script(path) != before, 5, "the plot moves")
    assert text(browser, "#upstreams").count("http://127.0.0.1:") == 3
    assert len(browser.find_elements(By.CSS_SELECTOR, "#workers tbody tr")) == 2
    assert not browser.find_element(By.ID, "open").is_displayed()
    assert not set(re.findall(r"\w+", text(browser, "body"))) & set(USERS), "users are shown to whoever looks"


def test_a_wrong_token_opens_nothing_and_the_right_one_stays_for_the_tab(browser: Chrome, site: BusySite) -> None:
    show(browser, site)
    unlock(browser, "something else")
    becomes(browser, "#unlock-said", lambda said: "not, or no longer" in said, "what is wrong")
    assert not browser.find_element(By.ID, "open").is_displayed()
    unlock(browser)
    wait_for(lambda: len(rows(browser)) == 20, 5, "a page of streams")
    assert browser.switch_to.active_element.get_attribute("id") == "streams-title"
    show(browser, site)
    wait_for(lambda: len(rows(browser)) == 20, 5, "a page of streams, after a reload of the page")
    assert TOKEN not in browser.current_url and TOKEN not in browser.page_source
    becomes(browser, "#count", lambda said: said == f"{OPEN} open", "how many there are")
    browser.find_element(By.ID, "next").click()
    wait_for(lambda: len(rows(browser)) == OPEN - 20, 5, "the second page")
    search = browser.find_element(By.ID, "text")
    search.send_keys("CHLOE")
    wait_for(lambda: set(rows(browser)) == {"chloe"}, 5, "the streams of one user")
    search.send_keys(Keys.CONTROL, "a")
    search.send_keys("board:")
    wait_for(lambda: len(rows(browser)) == OPEN // 3, 5, "the streams of a channel")
    becomes(browser, "#channels", lambda said: "board:sales" in said, "a channel")


def test_a_test_event_reaches_its_streams(browser: Chrome, site: BusySite) -> None:
    show(browser, site)
    wait_for(lambda: rows(browser), 5, "the streams")
    with reader(site, "nora") as stream:
        browser.find_element(By.ID, "whom").send_keys("nora")
        browser.find_element(By.ID, "event").send_keys("test")
        browser.find_element(By.CSS_SELECTOR, "#publish button").click()
        becomes(browser, "#published", lambda said: "delivered to 1 stream." in said, "the receipt")
        event = text(browser, "#published").split()[2].rstrip(",")
        sent = b""
        while b'data: {"test":true}\n' not in sent:
            sent += stream.recv(4096)
        assert f"id: {event}\nevent: test\n".encode() in sent


def test_a_stream_is_ended_by_the_second_press_and_by_keyboard(browser: Chrome, site: BusySite) -> None:
    with reader(site, "omar") as stream:
        show(browser, site)
        wait_for(lambda: rows(browser), 5, "the streams")
        browser.find_element(By.ID, "text").send_keys("omar")
        wait_for(lambda: rows(browser) == ["omar"], 5, "the stream")
        # From the search to the order, and on to the button of the only row.
        browser.switch_to.active_element.send_keys(Keys.TAB)
        browser.switch_to.active_element.send_keys(Keys.TAB)
        assert browser.switch_to.active_element.accessible_name == "End the stream of omar"
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        assert browser.switch_to.active_element.text == "End it?"
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        becomes(browser, "#ended", lambda said: "The stream of omar was ended" in said, "that it was")
        while stream.recv(4096):
            pass
    wait_for(lambda: text(browser, "#none") == "No stream is like that.", 5, "that there is none any more")


def test_a_reload_says_what_became_of_it(browser: Chrome, site: BusySite) -> None:
    show(browser, site)
    wait_for(lambda: rows(browser), 5, "the streams")
    file = site.folder / "sidestream.toml"
    button = browser.find_element(By.ID, "reload")
    for config, said in [
        (site.config.replace("workers = 2", "workers = 2\nmax_connections = 5000"), "no. 2 is in force; changed: [server]"),
        (site.config.replace("workers = 2", 'workers = "two"'), "sidestream.toml:3: "),
    ]:
        file.write_text(config)
        button.click()
        becomes(browser, "#reloaded", lambda shown, said=said: said in shown, said)
    file.write_text(site.config)
    becomes(browser, "#generation", lambda shown: shown == "no. 2", "the configuration in force")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_to_be_read_anywhere(browser: Chrome, site: BusySite, width: int, scheme: str, tmp_path: Path) -> None:
    media = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    show(browser, site)
    wait_for(lambda: rows(browser), 5, "the streams")
    assert browser.execute_script(TOO_WIDE) == []
    assert browser.execute_script(UNNAMED) == []
    assert browser.execute_script(FAINT) == []
    moment = browser.find_element(By.ID, "moment")
    moment.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    becomes(browser, "#shown", lambda said: said.endswith("ago"), "the moment that is looked at")
    assert moment.get_attribute("aria-valuetext") == text(browser, "#shown")
    assert browser.save_screenshot(str(tmp_path / f"status-{width}-{scheme}.png"))


def test_it_comes_back_to_a_sidestream_that_was_away(browser: Chrome) -> None:
    with BusySite(token=False) as site:
        show(browser, site)
        becomes(browser, "#no-token", lambda said: "has no token" in said, "why there is no more")
        assert not browser.find_element(By.ID, "unlock").is_displayed()
        site.sidestream.kill()
        wait_for(lambda: "stale" in browser.find_element(By.TAG_NAME, "body").get_attribute("class"), 5, "the loss")
        site.start()
        wait_for(lambda: browser.execute_script(LIVE) == "live", 8, "the page's own stream again")


def reader(site: BusySite, user: str) -> socket.socket:
    """A stream that is read by the test."""
    stream = site.open(user)
    site.streams.remove(stream)
    return stream
