"""What the tests of the examples share: the running example, its pages in Chromium, raw streams, and what they cost."""

import hashlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from http.client import HTTPConnection
from pathlib import Path

from deployment import BINARY, HERE, START, Process, accepts, deadline, free_port, wait_for
from npm import packages
from relay import Relay
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

EXAMPLES = HERE.parent.parent / "examples"
BUILD = 300.0  # seconds that a build of a front end may take
PUSHES = 50  # of which the median is taken
IDLE = 10.0  # seconds over which idle streams are watched


class Example:
    """Sidestream with the example's own configuration on free ports, and whatever processes the example needs."""

    def __init__(self, name: str) -> None:
        assert BINARY.exists(), f"{BINARY} is missing: cargo build --release, or set SIDESTREAM to another binary"
        self.source = EXAMPLES / name
        self.folder = Path(tempfile.mkdtemp(prefix="example-"))  # short: the path of a Unix socket is bounded
        self.socket = self.folder / "sidestream.sock"
        self.port = free_port()
        self.relay = Relay(self.port)
        self.environment = {**os.environ, "SIDESTREAM_SOCKET": str(self.socket)}
        self.sidestream: Process | None = None
        self.starts = 0
        self.processes: list[Process] = []

    def __enter__(self) -> "Example":
        return self

    def __exit__(self, *_: object) -> None:
        self.relay.__exit__()
        for process in [self.sidestream, *reversed(self.processes)]:
            if process is not None:
                process.kill()
                # Shown below a test that failed.
                print(f"--- end of {process.log.name}\n{process.log.read_text()[-4000:]}")
        shutil.rmtree(self.folder)

    def start(self, name: str, command: list[str], port: int | Path, **options) -> Process:
        """Starts a process of the example and waits until it accepts on its port, or on its Unix socket."""
        process = Process(command, self.folder / f"{name}.log", env=self.environment, **options)
        self.processes.append(process)
        address = port if isinstance(port, Path) else ("127.0.0.1", port)
        process.wait_until(lambda: accepts(address), f"{name} accepts")
        return process

    def configure(self, changes: dict[str, str]) -> None:
        """Writes the example's configuration with each of the keys, which it holds once, changed into its value."""
        text = (self.source / "sidestream.toml").read_text()
        for stated, wanted in changes.items():
            assert text.count(stated) == 1, stated
            text = text.replace(stated, wanted)
        (self.folder / "sidestream.toml").write_text(text)

    def start_sidestream(self) -> None:
        """Starts Sidestream and waits until it accepts requests and publications."""
        self.starts += 1
        log = self.folder / f"sidestream-{self.starts}.log"
        self.sidestream = Process([str(BINARY), "run"], log, cwd=self.folder, env=self.environment)
        self.sidestream.wait_until(lambda: accepts(("127.0.0.1", self.port)), "Sidestream accepts")
        self.sidestream.wait_until(lambda: accepts(self.socket), "the publish socket accepts")

    def publisher(self, method: str, path: str, body: object = None) -> dict:
        """A request on the publish socket; its answer."""
        connection = HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.socket))
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer

    def streams(self, user: object) -> int:
        """How many streams a user has open now."""
        return self.publisher("GET", f"/channels/user:{user}")["streams"]

    def opened(self, user: object, since: float) -> list[dict]:
        """The lines of the access log for the streams that a user has opened since a time."""
        return [line for line in self.log(kind="open", user=str(user)) if line["time"] > since]

    def log(self, **fields: object) -> list[dict]:
        """The lines of the access log since the last start that have these values, in order."""
        *whole, _ = self.sidestream.log.read_text().split("\n")
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if fields.items() <= line.items()]


def next_build(front_end: Path, packages_of: Path | None = None) -> Path:
    """A Next.js app, built by Next.js; built anew when one of its files has changed.

    `packages_of` is the app whose packages it uses, if they are not its own."""
    folder = packages(packages_of or front_end)
    files = sorted(path for path in front_end.rglob("*") if path.is_file() and not _NOT_BUILT & set(path.parts))
    state = hashlib.sha256(b"".join(str(file.relative_to(front_end)).encode() + file.read_bytes() for file in files))
    built = folder / f"build-{state.hexdigest()[:16]}"  # beside node_modules, where Node looks for them
    with (folder / "build.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not (built / "complete").exists():
            shutil.rmtree(built, ignore_errors=True)
            shutil.copytree(front_end, built, ignore=shutil.ignore_patterns(*_NOT_BUILT))
            done = subprocess.run(
                [str(folder / "node_modules/.bin/next"), "build"],
                **{"cwd": built, "env": next_environment(), "capture_output": True, "text": True, "timeout": BUILD},
            )
            assert done.returncode == 0, done.stdout + done.stderr
            (built / "complete").touch()
    return built


_NOT_BUILT = {"node_modules", "package-lock.json", ".next", "sidestream.toml", "sidestream.sock", "README.md"}


def next_environment() -> dict[str, str]:
    """What Next.js is told besides; its check of the lockfile wants the address of each package's registry in there."""
    return {**os.environ, "NEXT_TELEMETRY_DISABLED": "1", "NEXT_IGNORE_INCORRECT_LOCKFILE": "1"}


@contextmanager
def chromium(profile: Path, *rules: str) -> Iterator[Chrome]:
    """A Chromium of its own, without a window; `rules` say which hosts it takes to which address."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    flags = "headless=new no-sandbox disable-gpu no-first-run disable-background-networking disable-component-update"
    flags += " disable-sync disable-dev-shm-usage"
    size = "window-size=1000,720"
    for flag in [*flags.split(), size, f"user-data-dir={profile}", f"host-resolver-rules={', '.join(rules)}"]:
        options.add_argument(f"--{flag}")
    browser = Chrome(options, Service(executable_path="/usr/bin/chromedriver"))
    browser.set_page_load_timeout(START)
    try:
        yield browser
    finally:
        browser.quit()


class Tab:
    """One tab of a browser."""

    def __init__(self, browser: Chrome, handle: str) -> None:
        self._browser = browser
        self._handle = handle

    def run(self, script: str, *arguments: object) -> object:
        """Runs a script in the tab."""
        return self.browser.execute_script(script, *arguments)

    @property
    def browser(self) -> Chrome:
        """The browser, with this tab in front."""
        self._browser.switch_to.window(self._handle)
        return self._browser

    @property
    def text(self) -> str:
        """What the tab shows."""
        return str(self.run("return document.body.innerText"))

    def shows(self, text: str, seconds: float = 15.0) -> None:
        """Waits until the tab shows a text."""
        wait_for(lambda: text in self.text, seconds, f"{text!r} in the page")

    def show(self, picture: Path) -> str:
        """Takes a screenshot; the line that tells of it."""
        assert self.browser.save_screenshot(str(picture))
        return f"\nscreenshot: {picture}"


def two_tabs(browser: Chrome, url: str) -> list[Tab]:
    """The tab that the browser has, and a new one at an address."""
    first = Tab(browser, browser.current_window_handle)
    browser.switch_to.new_window("tab")
    browser.get(url)
    return [first, Tab(browser, browser.current_window_handle)]


def latencies(tabs: list[Tab], push: Callable[[str], float]) -> list[float]:
    """Pushes texts and takes when they appear in each tab: milliseconds, by this machine's clock on both sides.

    `push` publishes a text and returns the time at which it began to."""
    for tab in tabs:
        tab.run(_WATCH)
    sent = {f"push {number}": push(f"push {number}.") for number in range(PUSHES)}
    took = []
    for tab in tabs:
        wait_for(lambda tab=tab: len(tab.run("return Object.keys(arrivals)")) == PUSHES, 15, "every push in a tab")
        arrivals = tab.run("return arrivals")
        took += [arrivals[text] - began * 1000 for text, began in sent.items()]
    # A page's clock goes by itself from when it was loaded, and the system's may be set meanwhile.
    assert min(took) > -1000, "a page had an event before it was published: the clocks differ"
    return took


_WATCH = """
    window.arrivals = {};
    new MutationObserver(() => {
      const now = performance.timeOrigin + performance.now();
      for (const [text] of document.body.textContent.matchAll(/push [0-9]+(?=[.])/g)) arrivals[text] ??= now;
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
"""


class RawStream:
    """A stream over a bare socket, which keeps every byte."""

    def __init__(self, port: int, target: str, **headers: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        lines = [f"GET {target} HTTP/1.1", f"Host: localhost:{port}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._bytes = b""

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()

    @property
    def head(self) -> str:
        """The response's head."""
        return self._bytes.partition(b"\r\n\r\n")[0].decode("latin-1")

    @property
    def body(self) -> bytes:
        """The event stream, out of its chunks."""
        rest, body = self._bytes.partition(b"\r\n\r\n")[2], b""
        while size := re.match(rb"([0-9a-fA-F]+)\r\n", rest):
            body += rest[size.end() : size.end() + int(size[1], 16)]
            rest = rest[size.end() + int(size[1], 16) + 2 :]
        return body

    def read_until(self, fact: Callable[[], object], seconds: float, what: str) -> None:
        """Reads until a fact holds; fails with `what` as `wait_for` does, and when the stream ends before."""
        end = deadline(seconds)
        while not fact():
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                data = b""
            assert data, f"no {what} in {self._bytes!r}"
            self._bytes += data


def bare(body: bytes) -> bytes:
    """An event stream without what Sidestream adds to an app's own: `retry:`, `id:`, and events that are only those."""
    kept = b"".join(line for line in body.splitlines(keepends=True) if not re.match(rb"(id|retry): ", line))
    return re.sub(rb"\A\n|(?<=\n\n)\n", b"", kept)


def idle_cost(processes: dict[str, Process]) -> dict[str, float]:
    """The share of one core, in percent, that each process takes while nothing happens."""
    began, before = time.monotonic(), {name: _cpu_seconds(process) for name, process in processes.items()}
    time.sleep(IDLE)  # what is measured is that nothing happens
    took = time.monotonic() - began
    return {name: 100 * (_cpu_seconds(process) - before[name]) / took for name, process in processes.items()}


def _cpu_seconds(process: Process) -> float:
    """The time on a core of a process and its children, to the nanosecond."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/task/*/schedstat"):
        try:
            if os.getpgid(int(path.parts[2])) == process.child.pid:
                total += int(path.read_text().split()[0])
        except (ProcessLookupError, FileNotFoundError):
            pass  # it has ended meanwhile
    return total / 1e9


def median(values: list[float]) -> float:
    """The median, to a tenth."""
    return round(statistics.median(values), 1)
