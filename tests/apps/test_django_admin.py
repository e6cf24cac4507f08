"""Django's admin in Chromium, over HTTP/2: forms, messages, and the files that collectstatic leaves."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import BINARY, PASSWORD, Process, accepts, behind_tls, free_port, wait_for, write_certificate
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

APP = '''
import os
from pathlib import Path
from django.conf import settings
from django.core.management import call_command
from django.urls import path

HERE = Path(__file__).parent
TEMPLATES = "django.template.context_processors.request", "django.contrib.auth.context_processors.auth"
settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    SESSION_COOKIE_SECURE=True,
    CSRF_COOKIE_SECURE=True,
    INSTALLED_APPS=["django.contrib." + name for name in "admin auth contenttypes sessions messages staticfiles".split()],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [*TEMPLATES, "django.contrib.messages.context_processors.messages"]},
    }],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "db.sqlite3"}},
    STATIC_URL="/static/",
    STATIC_ROOT=HERE / "collected",
    STORAGES={
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)

from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
from django.contrib import admin
urlpatterns = [path("admin/", admin.site.urls)]
if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    call_command("createsuperuser", interactive=False, username="ada", email="ada@office.example")
'''

FILES = """
[[route]]
path = "/static/"
[route.files]
root = "collected"
"""


@pytest.fixture
def url() -> Iterator[str]:
    """The site, made and started: its address."""
    folder = Path(tempfile.mkdtemp(prefix="admin-"))
    processes: list[Process] = []
    try:
        (folder / "office.py").write_text(APP)
        port = free_port()
        (folder / "sidestream.toml").write_text(behind_tls(port, "unix:app.sock", "wsgi") + FILES)
        write_certificate(folder)
        options = {"cwd": folder, "env": {**os.environ, "SECRET_KEY": "x" * 50, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}}
        done = subprocess.run([sys.executable, "office.py"], capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stderr
        gunicorn = [sys.executable, "-m", "gunicorn", "office", "--no-control-socket", "--bind", "unix:app.sock"]
        sidestream = [str(BINARY), "run", "--config", "sidestream.toml"]
        for command, door in ((gunicorn, folder / "app.sock"), (sidestream, ("127.0.0.1", port))):
            process = Process(command, folder / f"{len(processes)}.log", **options)
            processes.append(process)
            process.wait_until(lambda door=door: accepts(door), f"{command[0]} accepts")
        yield f"https://localhost:{port}"
    finally:
        for process in processes:
            process.kill()
            print(process.log.read_text()[-4000:])
        shutil.rmtree(folder)


def test_the_admin_is_whole(url: str, browser: Chrome) -> None:
    def fill_in(**fields: str) -> None:
        for name, value in fields.items():
            browser.find_element(By.NAME, name).send_keys(value)
        browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()

    def shows(text: str) -> None:
        shown = "return document.readyState == 'complete' && document.body.innerText.includes(arguments[0])"
        wait_for(lambda: browser.execute_script(shown, text), 15, f"{text!r} in the page")

    browser.get(f"{url}/admin/auth/group/add/")
    assert browser.current_url == f"{url}/admin/login/?next=/admin/auth/group/add/"
    assert browser.execute_script("return performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    fill_in(username="ada", password="wrong")
    shows("Please enter the correct username and password")
    browser.find_element(By.NAME, "username").clear()
    fill_in(username="ada", password=PASSWORD)
    shows("Add group")
    fill_in(name="Gr\u00fc\u00dfe & Co")
    shows("\u201cGr\u00fc\u00dfe & Co\u201d was added successfully.")
    assert browser.current_url == f"{url}/admin/auth/group/"

    # Every file came, came from the route, and is kept by the browser.
    files = browser.execute_script(
        "return performance.getEntriesByType('resource').map((e) => [new URL(e.name).pathname, e.responseStatus])"
    )
    assert len(files) > 5
    assert {tuple(file) for file in files if not (file[0].startswith("/static/admin/") and file[1] == 200)} == {
        ("/admin/jsi18n/", 200)  # a view
    }
    background = "return getComputedStyle(document.getElementById('header')).backgroundColor"
    assert browser.execute_script(background) != "rgba(0, 0, 0, 0)", "the style sheet is used"
    kept = "return fetch(arguments[0]).then((answer) => answer.headers.get('cache-control'))"
    assert browser.execute_script(kept, files[0][0]) == "public, max-age=31536000, immutable"

    browser.find_element(By.CSS_SELECTOR, "#logout-form button").click()
    shows("Thanks for spending some quality time")
    browser.get(f"{url}/admin/")
    assert browser.current_url == f"{url}/admin/login/?next=/admin/"
