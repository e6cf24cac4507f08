"""Django's static files and protected downloads: what collectstatic leaves is served without the app, and a view of
django-sendfile2's nginx backend hands its file in."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from deployment import BINARY, Process, accepts, free_port

APP = '''
import os
from pathlib import Path
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.urls import path

HERE = Path(__file__).parent
settings.configure(
    SECRET_KEY="only for this test, and for nothing else at all",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.staticfiles"],
    STATIC_URL="/static/",
    STATIC_ROOT=HERE / "collected",
    STATICFILES_DIRS=[HERE / "assets"],
    STORAGES={
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    },
    SENDFILE_BACKEND="django_sendfile.backends.nginx",
    SENDFILE_ROOT=HERE / "protected",
    SENDFILE_URL="/protected",
)
import django
django.setup()

def page(request):
    return HttpResponse(staticfiles_storage.url("site.css"))

def download(request, name):
    from django_sendfile import sendfile
    response = sendfile(request, HERE / "protected" / name, attachment=True)
    response.set_cookie("seen", "yes")
    return response

urlpatterns = [path("", page), path("download/<str:name>", download)]
application = WSGIHandler()
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    import sys
    execute_from_command_line(sys.argv)
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
path = "/"
[route.proxy]
upstream = "app"
[[route]]
path = "/static/"
[route.files]
root = "collected"
[[route]]
path = "/protected/"
internal = true
[route.files]
root = "protected"
"""

BOOK = bytes(range(256)) * 1000
NAME = "Übersicht & 100%.pdf"


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of Sidestream in front of the app."""
    assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
    folder = Path(tempfile.mkdtemp(prefix="files-"))
    processes = []
    try:
        port = free_port()
        (folder / "assets").mkdir()
        (folder / "protected").mkdir()
        (folder / "assets/site.css").write_text("body { background: url(pixel.png) }\n" * 100)
        (folder / "assets/pixel.png").write_bytes(b"\x89PNG")
        (folder / "protected" / NAME).write_bytes(BOOK)
        (folder / "app.py").write_text(APP)
        (folder / "sidestream.toml").write_text(CONFIG.format(port=port))
        command = [sys.executable, "app.py", "collectstatic", "--noinput", "--verbosity", "0"]
        subprocess.run(command, cwd=folder, check=True)
        command = [sys.executable, "-m", "gunicorn", "app", "--bind", "unix:gunicorn.sock", "--no-control-socket"]
        processes.append(Process(command, folder / "gunicorn.log", cwd=folder))
        processes[-1].wait_until(lambda: accepts(folder / "gunicorn.sock"), "gunicorn accepts")
        command = [str(BINARY), "run", "--config", "sidestream.toml"]
        processes.append(Process(command, folder / "sidestream.log", cwd=folder, env=dict(os.environ)))
        processes[-1].wait_until(lambda: accepts(("127.0.0.1", port)), "Sidestream accepts")
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in processes:
            process.kill()
            print(process.log.read_text()[-4000:])
        shutil.rmtree(folder)


def test_collected_files_are_kept_by_their_hashed_names(site: str) -> None:
    hashed = requests.get(f"{site}/", timeout=60).text
    assert re.fullmatch(r"/static/site\.[0-9a-f]{12}\.css", hashed)
    answer = requests.get(site + hashed, timeout=60)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/css; charset=utf-8"
    # One hash of a few hundred has digits only, and is not taken for one.
    mixed = any(letter in "abcdef" for letter in hashed.split(".")[1]) and any(map(str.isdigit, hashed.split(".")[1]))
    assert mixed and answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert re.search(r"url\(\"?pixel\.[0-9a-f]{12}\.png", answer.text)
    plain = requests.get(f"{site}/static/site.css", timeout=60)
    assert plain.headers["Cache-Control"] == "public, max-age=60"
    again = requests.get(site + hashed, headers={"If-None-Match": answer.headers["ETag"]}, timeout=60)
    assert again.status_code == 304
    assert requests.get(f"{site}/static/", timeout=60).status_code == 404
    assert requests.get(f"{site}/static/none.css", timeout=60).status_code == 404


def test_a_view_hands_its_file_in(site: str) -> None:
    pytest.importorskip("django_sendfile")
    url = f"{site}/download/{requests.utils.quote(NAME)}"
    whole = requests.get(url, timeout=60)
    assert whole.status_code == 200 and whole.content == BOOK
    assert whole.headers["Content-Type"] == "application/pdf" and whole.cookies["seen"] == "yes"
    assert "attachment" in whole.headers["Content-Disposition"]
    assert not [name for name in whole.headers if name.lower().startswith("x-accel")]
    part = requests.get(url, headers={"Range": "bytes=1000-1009"}, timeout=60)
    assert part.status_code == 206 and part.content == BOOK[1000:1010]
    assert part.headers["Content-Range"] == f"bytes 1000-1009/{len(BOOK)}"
    again = requests.get(url, headers={"If-None-Match": whole.headers["ETag"]}, timeout=60)
    assert again.status_code == 304
    direct = requests.get(f"{site}/protected/{requests.utils.quote(NAME)}", timeout=60)
    assert direct.status_code == 404
