"""A production build of Next.js, with and without Sidestream before it: what it can do works, and looks the same."""

import base64
import re
import uuid
from collections.abc import Iterator
from itertools import zip_longest
from urllib.parse import quote

import httpx
import pytest
from deployment import wait_for
from next_site import Site, running
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

BEFORE, AFTER = '"before"', '"after"'
ACTION = r'name="(\$ACTION_ID_[0-9a-f]+)"'

# What a proxy may change: the hop's own fields, and when it was.
NAMED = {"connection", "date", "keep-alive", "transfer-encoding"}

Seen = list[tuple]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running("start") as site:
        yield site


def visit(client: httpx.Client, origin: str) -> Seen:
    """Everything a visitor sees who goes through the site."""
    seen = []

    def note(method: str, path: str, **options) -> httpx.Response:
        response = client.request(method, path, **options)
        text = _steady(response.text) if response.headers.get("Content-Type", "").startswith("text") else response.content
        fields = sorted((name, value) for name, value in response.headers.multi_items() if name not in NAMED)
        seen.append((method, path, response.status_code, fields, text))
        return response

    # Pages that were made at the build, as documents and as what the router of the browser asks for.
    for path in ("/", "/isr", "/picture"):
        page = note("GET", path)
        note("GET", path, headers={"If-None-Match": page.headers["ETag"]})
        note("HEAD", path)
        note("GET", f"{path}?_rsc=1abcd", headers={"RSC": "1"})
        note("GET", path, headers={"Accept-Encoding": "identity"})
    # Pages made now.
    for path in ("/act", "/dynamic/a%20b?c=d%2Fe&c=f+g", "/dynamic/%C3%A4", "/nowhere", "/isr/", "/_next/data/x.json"):
        note("GET", path)
    # What lies in the build, and in public/.
    script = re.search(r'src="(/_next/static/chunks/[^"]+)"', page.text)[1]
    for path in (script, "/picture.png"):
        file = note("GET", path)
        note("GET", path, headers={"If-None-Match": file.headers["ETag"]})
        note("GET", path, headers={"Range": "bytes=10-19"})
    # The image optimiser.
    for accept in ("image/avif,image/webp,*/*", "image/png"):
        image = note("GET", "/_next/image?url=%2Fpicture.png&w=64&q=75", headers={"Accept": accept})
        again = {"Accept": accept, "If-None-Match": image.headers["ETag"]}
        note("GET", "/_next/image?url=%2Fpicture.png&w=64&q=75", headers=again)
    for query in ("url=%2Fpicture.png&w=63&q=75", "url=https%3A%2F%2Fevil.example%2Fa.png&w=64&q=75", ""):
        note("GET", f"/_next/image?{query}")
    # A route handler.
    note("GET", "/api/seen")
    note("POST", "/api/seen", content=b"x" * 100_000, headers={"Content-Type": "application/octet-stream"})
    note("DELETE", "/api/seen")
    note("OPTIONS", "/api/seen")
    # Server actions, as a form without JavaScript sends them and as the router does.
    action = re.search(ACTION, note("GET", "/act").text)[1]
    form = {action: (None, ""), "name": (None, "Gr\u00fc\u00dfe & Co"), "file": ("a.bin", b"x" * 700_000)}
    done = note("POST", "/act", files=form, headers={"Origin": origin})
    assert done.status_code == 303 and done.headers["Location"] == "/act?done=1", done.text
    assert "Gr\u00fc\u00dfe &amp; Co 700000" in note("GET", "/act?done=1").text
    by_router = {"Next-Action": action.removeprefix("$ACTION_ID_"), "Accept": "text/x-component", "Origin": origin}
    done = note("POST", "/act", files={"_1_name": (None, "Bob"), "0": (None, '["$K1"]')}, headers=by_router)
    assert done.headers["x-action-redirect"] == "/act?done=1;push"
    assert "Bob 0" in done.text, re.findall(r"greeted.{80}", done.text)
    # What comes from elsewhere is refused, also where it lies about who passed it on.
    for foreign in ("https://evil.example", origin.rpartition(":")[0], origin.rpartition(":")[0] + ":1"):
        assert note("POST", "/act", files=form, headers={"Origin": foreign}).status_code == 500
        assert note("POST", "/act", files=form, headers=by_router | {"Origin": foreign}).status_code == 500
    return seen


def _steady(text: str) -> list[str]:
    """A page as its markup and the rows behind it, in any order and cut anywhere, without what is new in each."""
    text = re.sub(r'(?<=")[\w-]{21}[mv]\b|(?<="digest":")\d+', "NAME", text)
    markup, *scripts = re.split(r"<script>self.__next_f.push\(\[1,\"(.*?)\"\]\)</script>", text)
    if not scripts:
        return sorted(text.split("\n"))
    return ["".join([markup, *scripts[1::2]]), *sorted("".join(scripts[::2]).split("\\n"))]


def test_a_visitor_sees_the_same_with_and_without_it(site: Site) -> None:
    with site.visitor("direct") as client:
        visit(client, site.url)  # what is made by the first visitor is there now
    with site.visitor("direct") as client:
        direct = visit(client, site.url)
    assert [status for _, _, status, _, _ in direct] == [200, 304, 200, 200, 200] * 3 + [200, 200, 200, 404, 308, 404] + [
        *(200, 304, 206, 200, 304, 206),
        *(200, 304, 200, 304, 400, 400, 400),
        *(418, 200, 405, 204),
        *(200, 303, 200, 303),
        *[500] * 6,
    ]
    for way in ("HTTP/1.1", "HTTP/2"):
        with site.visitor(way) as client:
            seen = visit(client, site.url)
        for ours, theirs in zip(seen, direct, strict=True):
            assert ours[:4] == theirs[:4], way
            differing = [pair for pair in zip_longest(ours[4], theirs[4]) if pair[0] != pair[1]]
            assert not differing, (way, ours[:3])


def test_an_action_from_elsewhere_is_refused_whatever_it_says(site: Site) -> None:
    evil = {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    outcomes = {}
    for way in ("direct", "HTTP/1.1", "HTTP/2"):
        with site.visitor(way) as client:
            action = re.search(ACTION, client.get("/act").text)[1]
            outcomes[way] = client.post("/act", files={action: (None, ""), "name": (None, "Eve")}, headers=evil).status_code
    assert outcomes == {"direct": 303, "HTTP/1.1": 500, "HTTP/2": 500}, "the app itself would have believed it"


@pytest.mark.parametrize("way", ["direct", "HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_the_frame_of_a_page_comes_before_the_rest(site: Site, way: str, coding: str) -> None:
    key = str(uuid.uuid4())
    with site.visitor(way) as client, site.visitor(way) as other:
        with client.stream("GET", f"/suspense?key={key}", headers={"Accept-Encoding": coding}) as response:
            assert response.headers.get("Content-Encoding", "identity") == coding
            text, pieces = "", response.iter_text()
            while "being made" not in text:
                text += next(pieces)
            assert "The frame" in text and "The rest is here" not in text
            assert other.post("/api/release", content=key).status_code == 204
            assert "The rest is here" in "".join(pieces)


def test_a_kept_page_is_the_same_until_it_is_renewed(site: Site) -> None:
    def made(client: httpx.Client) -> tuple[str, str]:
        page = client.get("/isr")
        assert page.headers["Cache-Control"].startswith("s-maxage=3600, stale-while-revalidate=")
        return re.search(r'id="made">([^<]+)<', page.text)[1], page.headers["ETag"]

    with site.visitor("direct") as direct, site.visitor("HTTP/1.1") as h1, site.visitor("HTTP/2") as h2:
        before = made(direct)
        for client, expected in ((h1, 2), (h2, 3)):
            assert made(client) == made(direct) == before
            action = re.search(ACTION, client.get("/isr").text)[1]
            answer = client.post("/isr", files={action: (None, "")}, headers={"Origin": site.url})
            assert answer.status_code == 200, answer.text
            assert client.get("/isr", headers={"If-None-Match": before[1]}).status_code == 200
            renewed = made(client)
            assert renewed[0] != before[0] and made(direct) == renewed
            assert client.get("/isr", headers={"If-None-Match": renewed[1]}).status_code == 304
            before = renewed


def test_the_app_sees_the_visitor(site: Site) -> None:
    lies = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "1", "X-Real-IP": "6.6.6.6"}
    lies |= {"x-middleware-subrequest": "middleware:middleware:middleware", "Content-Type": "text/plain"}
    content = bytes(range(256)) * 4096
    for way in ("HTTP/1.1", "HTTP/2"):
        with site.visitor(way) as client:
            seen = client.post("/api/seen", content=content, headers=lies).json()
        fields = dict(seen["fields"])
        assert {name: fields.get(name.lower()) for name in site.said} == site.said
        assert "x-middleware-subrequest" not in fields and "forwarded" not in fields
        assert seen["length"] == len(content) and base64.b64decode(seen["body"]) == content[-46:]


def test_a_browser_uses_all_of_it(site: Site, browser: Chrome) -> None:
    browser.get(f"{site.url}/act")
    assert browser.execute_script("return performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    browser.execute_script("window.same = true")
    browser.find_element(By.NAME, "name").send_keys("Ada")
    browser.find_element(By.TAG_NAME, "button").click()
    wait_for(lambda: _output(browser, "greeted") == "Ada 0", 15, "what the action did")
    assert browser.current_url == f"{site.url}/act?done=1"
    browser.find_element(By.LINK_TEXT, "/isr").click()
    wait_for(lambda: _output(browser, "made"), 15, "the page that is kept")
    before = _output(browser, "made")
    browser.find_element(By.TAG_NAME, "button").click()
    wait_for(lambda: _output(browser, "made") != before, 15, "the page that is renewed")
    browser.find_element(By.LINK_TEXT, "/picture").click()
    width = "return document.getElementById('picture')?.complete && document.getElementById('picture').naturalWidth"
    wait_for(lambda: browser.execute_script(width) == 256, 15, "the picture")
    assert browser.execute_script("return window.same"), "it was one page all the time"


def test_files_of_the_build_are_the_same_from_disk(site: Site) -> None:
    said = ("Content-Type", "Cache-Control", "Content-Length")
    built = site.folder / ".next/static"
    paths = ["/_next/static/" + quote(str(file.relative_to(built)), safe="/") for file in built.rglob("*.*")]
    assert any("%5Bname%5D" in path for path in paths) and len(paths) > 20
    with site.visitor("direct") as app, httpx.Client(base_url=f"http://127.0.0.1:{site.files}", trust_env=False) as disk:
        disk.headers.update({"Host": "files.example", "Accept-Encoding": "identity"})
        app.headers["Accept-Encoding"] = "identity"
        for path in paths:
            theirs, ours = app.get(path), disk.get(path)
            assert ours.content == theirs.content, path
            fields = [[answer.headers[name] for name in said] for answer in (ours, theirs)]
            assert _kind(fields[0]) == _kind(fields[1]), path
            assert "x-powered-by" not in ours.headers and "last-modified" in ours.headers, path
        assert disk.get("/picture.png").content == app.get("/picture.png").content
        assert disk.get("/act").text.startswith("<!DOCTYPE html>") and disk.get("/_next/static/nowhere.js").status_code == 404
        assert disk.post("/api/seen", content=b"x").json()["length"] == 1


def _kind(fields: list[str]) -> list[str]:
    return [fields[0].lower().replace("application/javascript", "text/javascript"), *fields[1:]]


def test_a_change_appears_in_a_page_of_next_dev(browser: Chrome) -> None:
    with running("dev") as site:
        tabs = {}
        for url in (f"http://127.0.0.1:{site.app}", site.url):
            browser.switch_to.new_window("tab")
            tabs[url] = browser.current_window_handle
            browser.set_page_load_timeout(120)  # it is compiled only now
            browser.get(f"{url}/hot")
            wait_for(lambda: _output(browser, "word") == "before", 15, "the page")
            # Whether it is hydrated, and so has its WebSocket.
            hydrated = "return Object.keys(document.getElementById('word')).some((key) => key.startsWith('__react'))"
            wait_for(lambda: browser.execute_script(hydrated), 60, "the page's scripts")
            browser.execute_script("window.same = true")
        page = site.folder / "app/hot/page.js"
        text = page.read_text()
        assert text.count(BEFORE) == 1
        page.write_text(text.replace(BEFORE, AFTER))
        for url, tab in tabs.items():
            browser.switch_to.window(tab)
            wait_for(lambda: _output(browser, "word") == "after", 60, f"the change at {url}")
            assert browser.execute_script("return window.same"), f"the page at {url} was loaded anew"


def _output(browser: Chrome, name: str) -> str | None:
    return browser.execute_script("return document.getElementById(arguments[0])?.textContent", name)
