"""Probes: what one quiet client waits for, and, by the same clock, two controls that Sidestream has no part in.

The machine is shared by the load and by whatever else runs on it. What slows the controls down as well is the machine's doing.
"""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from .site import SECRET, Site
from .wire import Client, Door, Lines, Refused, Stream, token

# Seconds between two probes of a kind, on average.
EVERY = 0.25
# What is probed: by the names of the columns.
STREAM, REQUEST, APP, ECHO = "stream_us", "request_us", "app_us", "echo_us"
KINDS = (STREAM, REQUEST, APP, ECHO)


class Probes:
    """Takes times until it is cancelled; `taken` are those since they were last asked for, in microseconds."""

    def __init__(self, site: Site):
        self.site = site
        self.taken: dict[str, list[int]] = {kind: [] for kind in KINDS}
        # The longest wait of a request meanwhile for an app that was being started anew.
        self.held = 0
        self.failed = 0
        self.troubles: dict[str, int] = {}

    async def run(self) -> None:
        program = Path(__file__).with_name("echo.py")
        child = await asyncio.create_subprocess_exec(sys.executable, program, stdout=asyncio.subprocess.PIPE)
        try:
            echo = await Door(int(await child.stdout.readline())).open()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.follow())
                group.create_task(self.publish())
                group.create_task(self.repeat(REQUEST, Client(self.site.plain()), self.get))
                group.create_task(self.repeat(APP, Client(self.site.straight()), self.get))
                group.create_task(self.repeat(ECHO, echo, self.echo))
        finally:
            child.kill()
            await child.wait()

    def take(self) -> dict[str, list[int]]:
        taken, self.taken, self.held = self.taken, {kind: [] for kind in KINDS}, 0
        return taken

    async def publish(self) -> None:
        """Publishes the time, for the probe's own user."""
        while True:
            try:
                async with Lines(self.site.socket) as lines:
                    while True:
                        await pause()
                        [reply] = await lines.publish([{"user": "probe", "data": f"{time.monotonic_ns()}"}])
                        if "error" in reply:
                            self.trouble(reply["error"])
            except (OSError, EOFError, ValueError) as error:
                self.trouble(f"publishing: {error!r}")
                await asyncio.sleep(1)

    async def follow(self) -> None:
        """Reads when it comes. Its stream ends by `max_age` as all others do, and is opened again."""
        cursor = None
        while True:
            fields = {"last_event_id": cursor.decode()} if cursor else {}
            try:
                stream = await Stream.open(self.site.plain(), f"/events?token={token(SECRET, 'probe', 3600)}", **fields)
            except (OSError, Refused, TimeoutError) as error:
                self.trouble(f"the probe's stream: {error!r}")
                await asyncio.sleep(1)
                continue
            # What came while there was no stream waited for that, and says nothing.
            begun = time.monotonic_ns()
            try:
                while (events := await stream.events()) is not None:
                    now = time.monotonic_ns()
                    for event in events:
                        cursor = event.get(b"id", cursor)
                        sent = event.get(b"data", b"")
                        if sent.isdigit() and int(sent) > begun:
                            self.taken[STREAM].append((now - int(sent)) // 1000)
            except (OSError, ValueError):
                pass
            finally:
                stream.close()

    async def repeat(self, kind: str, on, once: Callable[[object], Awaitable[None]]) -> None:
        while True:
            await pause()
            restarting, restarts = self.site.is_restarting, self.site.restarts
            begun = time.monotonic_ns()
            try:
                await once(on)
            except (OSError, EOFError, ValueError, Refused, TimeoutError) as error:
                # The app itself is away while it is started anew, and closes what it had open.
                if kind != APP:
                    self.trouble(f"{kind}: {error!r}")
                continue
            microseconds = (time.monotonic_ns() - begun) // 1000
            if restarting or self.site.is_restarting or self.site.restarts != restarts:
                self.held = max(self.held, microseconds if kind == REQUEST else 0)
            else:
                self.taken[kind].append(microseconds)

    async def get(self, client: Client) -> None:
        status, _ = await client.ask("GET", "/small")
        if status != 200:
            raise Refused(status)

    async def echo(self, wire: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        reader, writer = wire
        writer.write(b"x" * 60)
        await reader.readexactly(60)

    def trouble(self, words: str) -> None:
        self.failed += 1
        self.troubles[words] = self.troubles.get(words, 0) + 1


async def pause() -> None:
    await asyncio.sleep(random.uniform(0.5, 1.5) * EVERY)
