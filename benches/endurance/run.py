"""The run: what is done when, and a sample every few seconds, until the time is over or somebody ends it."""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from peers.machine import Failure, say

from . import samples
from .probes import Probes
from .site import Site

# Seconds between two samples, and what the phases without a load take. After it, history has to be forgotten, which
# takes a minute, and idle connections to be closed.
SAMPLE = 5.0
REST_BEFORE, REST_AFTER = 20.0, 90.0
# Seconds between two reloads and two rotations of the log, and how often the app is started anew in a run.
RELOAD, ROTATE = 15.0, 60.0
RESTARTS = 24
# Seconds between two restarts at the least, however short the run.
RESTART_LEAST = 20.0


class Run:
    """One soak: a site that runs, its load, its probes, and where the samples go."""

    def __init__(self, site: Site, minutes: float, path: Path):
        self.site, self.seconds, self.path = site, minutes * 60, path
        self.probes = Probes(site)
        self.load: asyncio.subprocess.Process | None = None
        self.said: dict = {"counts": {}, "troubles": []}
        self.ended = asyncio.Event()

    async def whole(self) -> None:
        """The three phases. Ended from outside, it goes on at once to what comes after the samples."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ended.set)
        self.writer = samples.Writer(self.path)
        self.begun = time.monotonic()
        probing = asyncio.create_task(self.probes.run())
        try:
            await self.phase(samples.BEFORE, REST_BEFORE, [probing])
            if not self.ended.is_set():
                await self.under_load(probing)
                await self.phase(samples.AFTER, REST_AFTER, [probing])
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    async def under_load(self, probing: asyncio.Task) -> None:
        await self.start_load()
        restart = max(self.seconds / RESTARTS, RESTART_LEAST)
        deeds = [
            asyncio.create_task(every(RELOAD, self.site.reload)),
            asyncio.create_task(every(ROTATE, lambda: asyncio.to_thread(self.site.rotate_log))),
            asyncio.create_task(every(restart, lambda: asyncio.to_thread(self.site.restart_app))),
        ]
        try:
            await self.phase(samples.LOAD, self.seconds, [probing, *deeds])
        finally:
            for deed in deeds:
                deed.cancel()
            # One that is in a thread goes on to its end.
            await asyncio.gather(*deeds, return_exceptions=True)
            while self.site.is_restarting:
                await asyncio.sleep(0.05)
            await self.ask_load()
            self.load.stdin.close()
            try:
                await asyncio.wait_for(self.load.wait(), 10)
            except TimeoutError:
                self.load.kill()
            self.load = None

    async def start_load(self) -> None:
        site = self.site
        where = [site.ports["plain"], site.ports["tls"], site.folder / "cert.pem", site.socket]
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-B", "-m", "endurance.load", *(str(part) for part in where)]
        here = Path(__file__).parents[1]
        self.load = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=here, start_new_session=True)

    async def phase(self, name: str, seconds: float, tasks: list[asyncio.Task]) -> None:
        """Takes samples for so long, while the tasks run; one of them that ends has failed, and so has the run."""
        over = time.monotonic() + seconds
        while time.monotonic() < over and not self.ended.is_set():
            stop = asyncio.create_task(self.ended.wait())
            await asyncio.wait([stop, *tasks], timeout=SAMPLE, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            for task in tasks:
                if task.done():
                    raise Failure(f"{name}: {task.exception()!r}") from task.exception()
            if self.load:
                await self.ask_load()
            at, load = time.monotonic() - self.begun, self.load.pid if self.load else None
            sample = await samples.take(at, name, self.site, self.probes, self.said["counts"], load)
            self.writer.add(sample)

    async def ask_load(self) -> None:
        self.load.stdin.write(b"\n")
        line = await asyncio.wait_for(self.load.stdout.readline(), 60)
        if not line:
            raise Failure("the load has ended; what it said is above")
        self.said = json.loads(line)

    def troubles(self) -> list[str]:
        """What went wrong, in words, with how often it did."""
        found = [*self.said["troubles"], *self.probes.troubles.items()]
        return [f"{count} x {words}" for words, count in found]


async def every(seconds: float, deed) -> None:
    """Does something again and again."""
    while True:
        await asyncio.sleep(seconds)
        await deed()


def run(site: Site, minutes: float, path: Path) -> list[str]:
    """Runs a soak, writes its samples to a file, and returns what went wrong."""

    async def whole() -> list[str]:
        this = Run(site, minutes, path)
        await this.whole()
        return this.troubles()

    say(f"{minutes:g} minutes of load; samples go to {path}, pid of Sidestream {site.process.pid}")
    return asyncio.run(whole())
