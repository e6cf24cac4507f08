"""A Django app below a path of the site, its pages compressed, in a browser: links, redirects, a page in parts."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from deployment import BINARY, Process, accepts, free_port, wait_for
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

APP = '''
import time
from pathlib import Path
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse

HERE = Path(__file__).parent
settings.configure(
    SECRET_KEY="only for this test, and for nothing else at all",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    FORCE_SCRIPT_NAME="/shop",
    MIDDLEWARE=["django.middleware.http.ConditionalGetMiddleware"],
)
import django
django.setup()

LINES = "<p>one line of many that a page has</p>" * 200

def home(request):
    return HttpResponse(f"<a href='{reverse('old')}'>further</a>{LINES}")

def old(request):
    return redirect("told")

def told(request):
    prefix, key = request.headers.get("X-Forwarded-Prefix"), request.headers.get("X-Api-Key")
    return JsonResponse({"path": request.path_info, "full": request.get_full_path(), "prefix": prefix, "key": key})

def parts(request):
    def page():
        yield "<p id=shell>first</p>" + LINES
        while not (HERE / "go").exists():
            time.sleep(0.01)
        yield "<p id=late>second</p>"
    return StreamingHttpResponse(page())

urlpatterns = [
    path("", home),
    path("old/", old, name="old"),
    path("told/", told, name="told"),
    path("parts/", parts),
]
application = WSGIHandler()
'''

CONFIG = """
[log]
access = "access.log"
[publish]
socket = ""
[[listen]]
address = "127.0.0.1:{port}"
[upstreams.app]
servers = ["unix:gunicorn.sock"]
[[route]]
path = "/shop/"
[route.proxy]
upstream = "app"
strip_prefix = true
compress = true
request_headers = {{ set = {{ X-Api-Key = "env:API_KEY" }} }}
response_headers = {{ set = {{ X-Frame-Options = "DENY" }}, remove = ["server"] }}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, Path]]:
    """The address of Sidestream in front of the app, and the app's folder."""
    assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
    folder = Path(tempfile.mkdtemp(prefix="below-"))
    processes = []
    try:
        port = free_port()
        (folder / "app.py").write_text(APP)
        (folder / "sidestream.toml").write_text(CONFIG.format(port=port))
        command = [sys.executable, "-m", "gunicorn", "app", "--bind", "unix:gunicorn.sock", "--no-control-socket"]
        processes.append(Process(command, folder / "gunicorn.log", cwd=folder))
        processes[-1].wait_until(lambda: accepts(folder / "gunicorn.sock"), "gunicorn accepts")
        command = [str(BINARY), "run", "--config", "sidestream.toml"]
        environment = {**os.environ, "API_KEY": "of-the-operator"}
        processes.append(Process(command, folder / "sidestream.log", cwd=folder, env=environment))
        processes[-1].wait_until(lambda: accepts(("127.0.0.1", port)), "Sidestream accepts")
        yield f"http://127.0.0.1:{port}", folder
    finally:
        for process in processes:
            process.kill()
            print(process.log.read_text()[-4000:])
        shutil.rmtree(folder)


SIZES = """
const entry = performance.getEntries().find((entry) => entry.name === arguments[0]);
return [entry.encodedBodySize, entry.decodedBodySize];
"""

READ = """
window.text = "";
const response = await fetch(arguments[0]);
const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
(async () => {
  for (let part; !(part = await reader.read()).done; ) window.text += part.value;
  window.ended = true;
})();
"""


def came_compressed(browser: Chrome, url: str) -> bool:
    """Whether a body that the browser has loaded was much smaller on its way."""
    encoded, decoded = browser.execute_script(SIZES, url)
    return 0 < encoded < decoded / 4


def test_links_and_redirects_stay_below_the_path(site: tuple[str, Path], browser: Chrome) -> None:
    url, _ = site
    browser.get(f"{url}/shop/")
    assert came_compressed(browser, f"{url}/shop/")
    browser.find_element(By.LINK_TEXT, "further").click()
    wait_for(lambda: browser.current_url == f"{url}/shop/told/", 10, "the redirect")
    headers = {"X-Forwarded-Prefix": "/evil", "X-Api-Key": "guessed"}
    said = requests.get(f"{url}/shop/told/?a=b", headers=headers, timeout=60)
    expected = {"path": "/told/", "full": "/shop/told/?a=b", "prefix": "/shop", "key": "of-the-operator"}
    assert said.json() == expected
    assert said.headers["X-Frame-Options"] == "DENY" and "gunicorn" not in said.headers.get("Server", "")


def test_the_page_in_hand_is_known_by_its_weak_name(site: tuple[str, Path]) -> None:
    url, _ = site
    for accepted, coding in (("gzip", "gzip"), ("identity", None)):
        first = requests.get(f"{url}/shop/", headers={"Accept-Encoding": accepted}, timeout=60)
        assert first.headers.get("Content-Encoding") == coding and "one line of many" in first.text
        assert first.headers["ETag"].startswith("W/") == (coding is not None)
        condition = {"Accept-Encoding": accepted, "If-None-Match": first.headers["ETag"]}
        again = requests.get(f"{url}/shop/", headers=condition, timeout=60)
        assert again.status_code == 304 and again.headers["ETag"] == first.headers["ETag"]
    cookie = {"Accept-Encoding": "gzip", "Cookie": "sessionid=x"}
    assert "Content-Encoding" not in requests.get(f"{url}/shop/", headers=cookie, timeout=60).headers


def test_a_page_that_comes_in_parts_is_read_in_parts(site: tuple[str, Path], browser: Chrome) -> None:
    url, folder = site
    browser.get(f"{url}/shop/told/")
    browser.execute_script(READ, f"{url}/shop/parts/")
    wait_for(lambda: "first" in browser.execute_script("return window.text"), 10, "the first part, the app still at it")
    assert "second" not in browser.execute_script("return window.text")
    (folder / "go").touch()
    wait_for(lambda: browser.execute_script("return window.ended"), 10, "the end")
    assert browser.execute_script("return window.text").endswith("<p id=late>second</p>")
    assert came_compressed(browser, f"{url}/shop/parts/")
