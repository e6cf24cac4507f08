"""The machine: what it is, free ports, and processes that are ended by who started them."""

import os
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LOAD = TARGET / "release/examples/load"
SIDESTREAM = TARGET / "release/sidestream"
# Debian's names of what is compared, and the file that shows that it is there.
PACKAGES = {
    "nginx-light": "/usr/sbin/nginx",
    "libnginx-mod-nchan": "/usr/lib/nginx/modules/ngx_nchan_module.so",
    "haproxy": "/usr/sbin/haproxy",
    "pushpin": "/usr/bin/pushpin",
    "zurl": "/usr/bin/zurl",
    "openssl": "/usr/bin/openssl",
}


class Failure(Exception):
    """Something a person can do something about."""


def prepare(build: bool, packages: dict[str, str] | None = None) -> None:
    """Installs what is missing, builds what is ours, and allows as many open files as the system lets us."""
    missing = [name for name, path in (packages or PACKAGES).items() if not Path(path).exists()]
    if missing:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise Failure(f"missing: {' '.join(missing)}; install them, or run this as root on Debian")
        say(f"installing {' '.join(missing)}")
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-qq", *command], check=True, env=environment, stdout=subprocess.DEVNULL)
    if build:
        say("building")
        command = ["cargo", "build", "--release", "--locked", "--quiet", "--bin", "sidestream", "--example", "load"]
        subprocess.run(command, cwd=ROOT, check=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def open_files() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def describe() -> list[str]:
    """Lines that say on what the figures were taken."""
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", text)
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) / 1024 / 1024
    load = os.getloadavg()[0]
    return [
        f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}, {memory:.0f} GiB, "
        f"Linux {platform.release()}; everything on it, over loopback; load average before: {load:.1f}",
        ", ".join(versions()),
    ]


def versions() -> list[str]:
    """The versions of all that is here of what is compared."""
    found = [f"Sidestream {output('git', '-C', str(ROOT), 'rev-parse', '--short', 'HEAD')}"]
    if shutil.which("nginx"):
        found.append(f"nginx {output('nginx', '-v').split('/')[-1]}")
        found.append(f"nchan {output('dpkg-query', '-W', '-f=${Version}', 'libnginx-mod-nchan')}")
    if shutil.which("haproxy"):
        found.append(f"HAProxy {output('haproxy', '-v').split()[2]}")
    if shutil.which("pushpin"):
        found.append(f"Pushpin {output('pushpin', '--version').split()[-1]}")
    if shutil.which("redis-server"):
        found.append(f"Redis {output('redis-server', '--version').split()[2].removeprefix('v=')}")
    return found


def output(*command: str) -> str:
    """What a command prints, to either stream."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.strip()


def free_port() -> int:
    """A port of the loopback address that nobody has, below those that the kernel gives to clients."""
    for port in range(18000, 30000):
        if port in free_port.given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        free_port.given.add(port)
        return port
    raise Failure("no free port")


free_port.given = set()


class Process:
    """A server in a session of its own, which ends, with all that it started, with this object's `with`."""

    def __init__(self, command: list[str], folder: Path, waits_for: list):
        self.command = command
        self.folder = folder
        self.waits_for = waits_for

    def __enter__(self):
        self.log = self.folder / f"{Path(self.command[0]).name}.log"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            for address in self.waits_for:
                self.wait_for(address)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        until = time.monotonic() + 5
        # A look that does not take its state away, so that its number stays its own.
        while os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > until:
                break
            time.sleep(0.01)
        # Whatever it left behind is in its session, and the session is ours. It cannot be another's by now: the number
        # is free again only after `wait`.
        for pid in processes_of_session(self.child.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()

    @property
    def pid(self) -> int:
        return self.child.pid

    def wait_for(self, address) -> None:
        """Waits until something listens: a port, or the path of a Unix socket."""
        until = time.monotonic() + 15
        while time.monotonic() < until:
            if os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            family = socket.AF_INET if isinstance(address, int) else socket.AF_UNIX
            with socket.socket(family) as probe:
                try:
                    probe.connect(("127.0.0.1", address) if isinstance(address, int) else str(address))
                    return
                except OSError:
                    time.sleep(0.02)
        raise Failure(f"{self.command[0]} does not listen on {address}:\n{self.log.read_text()[-2000:]}")


def processes_of_session(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            found.append(int(path.parent.name))
    return found


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
