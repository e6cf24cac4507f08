"""The load of a soak, a process of its own: tabs that come and go, slow readers, requests, and a publisher with bursts.

It is spoken to by lines: for each one that it reads it answers with its counts so far, as JSON; it ends with its input.
Every event has the number that it is within its channel, so that each tab sees what was lost and what came twice.
"""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from urllib.parse import quote

from .site import SECRET
from .wire import Client, Door, Lines, Refused, Stream, token, trusting

TABS = 100
SLOW = 4
REQUESTERS = 10
# Seconds that a tab stays, on average. Half of those that go are reloaded, and come back with their last id.
STAY = 20.0
# How many users there are. Few of them are there at a time, so that channels come and go as well.
USERS = 3000
# A fifth of the tabs have a token that expires meanwhile.
SHORT_LIVED = 0.2
# Seconds between two rounds of publications, two bursts, two requests of each requester, two disconnected users.
ROUND, BURST, THINK, KICK = 0.5, 10.0, 0.6, 20.0
# A burst fits into a `backlog` of 64KiB. A slow reader does not read for longer than two of them, so that it is evicted, and then
# reads for a while.
BURST_EVENTS, PADDING = 50, "x" * 1000
SLEEP, AWAKE = 28.0, 12.0
UPLOAD = b"u" * 100_000


class Load:
    """What all of it shares."""

    def __init__(self, plain: Door, tls: Door, publish: str):
        self.plain, self.tls, self.publish = plain, tls, publish
        self.counts = Counter()
        # What went wrong, by its words; each counts once more in `counts`.
        self.troubles = Counter()
        # The number of the newest event of each channel, as far as there has been one.
        self.numbers: Counter[str] = Counter()
        self.present: Counter[str] = Counter()
        # Who holds it publishes, so that events are stored in the order of their numbers.
        self.turn = asyncio.Lock()

    async def run(self) -> None:
        """Everything at once until the input ends."""
        works = [self.tab(number, slow=number >= TABS) for number in range(TABS + SLOW)]
        works += [self.requests() for _ in range(REQUESTERS)]
        works += [self.publications(), self.bursts(), self.kicks(), self.http2()]
        tasks = [asyncio.create_task(work) for work in works]
        reports = asyncio.create_task(self.reports())
        await asyncio.wait([*tasks, reports], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # one that ends has failed, and so has the load
            task.cancel()

    async def reports(self) -> None:
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while await lines.readline():
            print(json.dumps({"counts": self.counts, "troubles": self.troubles.most_common(20)}), flush=True)

    def trouble(self, count: str, error: BaseException | str) -> None:
        self.counts[count] += 1
        words = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self.troubles[f"{count}: {words}"] += 1

    async def tab(self, number: int, slow: bool) -> None:
        """One tab after another in the same place."""
        await asyncio.sleep(random.random() * 5)
        while True:
            tab = Tab(self, f"u{random.randrange(USERS)}", number, slow)
            while True:
                stay = random.expovariate(1 / STAY) if not slow else STAY * 5
                await tab.stay(asyncio.get_running_loop().time() + stay)
                if random.random() < 0.5:
                    break

    async def requests(self) -> None:
        """Somebody who looks at pages, now over TLS and now without."""
        while True:
            client = Client(random.choice([self.plain, self.tls]))
            for _ in range(random.randrange(1, 40)):
                await asyncio.sleep(random.expovariate(1 / THINK))
                await self.request(client)
            client.close()

    async def request(self, client: Client) -> None:
        kind = random.choices(["/small", "/large", "/files/page.css", "/upload", "/missing"], [50, 15, 20, 10, 5])[0]
        try:
            if kind == "/upload":
                status, body = await client.ask("POST", kind, UPLOAD)
                is_right = body == b"%d" % len(UPLOAD)
            else:
                status, body = await client.ask("GET", kind, **random.choice([{}, {"accept_encoding": "gzip"}]))
                is_right = len(body) > 0
            wanted = 404 if kind == "/missing" else 200
            self.counts["requests"] += 1
            if status != wanted or not is_right:
                self.trouble("requests_failed", f"{kind} {status}")
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self.trouble("requests_failed", error)

    async def publications(self) -> None:
        """An event to everybody and some to single users, twice a second, over one connection."""
        async with Lines(self.publish) as lines:
            while True:
                users = random.sample(sorted(self.present), min(3, len(self.present)))
                users.append(f"u{random.randrange(USERS)}")
                async with self.turn:
                    batch = [self.event("all")] if random.random() < 0.5 else []
                    batch += [self.event(user, key=f"{random.random()}") for user in users]
                    self.replied(await lines.publish(batch))
                await asyncio.sleep(ROUND)

    async def bursts(self) -> None:
        """Many events to everybody at once, one array over HTTP."""
        publisher = Client(Door(self.publish))
        while True:
            await asyncio.sleep(BURST)
            async with self.turn:
                body = json.dumps([self.event("all", PADDING) for _ in range(BURST_EVENTS)]).encode()
                status, answer = await publisher.ask("POST", "/publish", body)
            self.replied(json.loads(answer) if status == 200 else [{"error": str(status)}])
            self.counts["bursts"] += 1

    async def kicks(self) -> None:
        """The app ends the streams of a user, who comes back."""
        publisher = Client(Door(self.publish))
        while True:
            await asyncio.sleep(KICK)
            if self.present:
                body = json.dumps({"user": random.choice(sorted(self.present))}).encode()
                await publisher.ask("POST", "/disconnect", body)
                self.counts["kicks"] += 1

    async def http2(self) -> None:
        """A stream and a request over HTTP/2 now and then, if there is a curl."""
        while True:
            await asyncio.sleep(10)
            root = f"https://localhost:{self.tls.address}"
            stream = f"{root}/events?token={token(SECRET, 'h2', 60)}"
            command = ["curl", "--silent", "--insecure", "--http2", "--max-time", "5", "--parallel", f"{root}/small", stream]
            try:
                child = await asyncio.create_subprocess_exec(
                    *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
                )
            except FileNotFoundError:
                return await asyncio.Event().wait()
            text, _ = await child.communicate()
            self.counts["http2"] += b"id: " in text and b"xxx" in text

    def event(self, channel: str, padding: str = "", **more) -> dict:
        self.numbers[channel] += 1
        to = {"channel": channel} if channel == "all" else {"user": channel}
        return to | {"data": f"{channel} {self.numbers[channel]} {padding}"} | more

    def replied(self, replies: list[dict]) -> None:
        self.counts["published"] += len(replies)
        for reply in replies:
            if "error" in reply:
                self.trouble("publish_failed", json.dumps(reply))


class Tab:
    """A page that shows one user's events, and comes back with its last id whenever it is cut."""

    def __init__(self, load: Load, user: str, number: int, slow: bool):
        self.load, self.user, self.slow = load, user, slow
        self.door = load.plain if number % 2 or slow else load.tls
        self.asks = number % 4 == 1 and not slow
        self.cursor: bytes | None = None
        self.seen: dict[bytes, int] = {}

    async def stay(self, until: float) -> None:
        """Reads until then."""
        while asyncio.get_running_loop().time() < until:
            try:
                async with asyncio.timeout_at(until):
                    await self.read()
            except TimeoutError:
                if asyncio.get_running_loop().time() < until:
                    self.load.trouble("opens_refused", "no answer in time")
            except (OSError, EOFError, ValueError) as error:
                # Cut while it read: that is how streams end. Or the connection was never made.
                self.load.counts["cut"] += 1
                if not isinstance(error, (ConnectionResetError, BrokenPipeError)):
                    self.load.trouble("tab_errors", error)
            except Refused as error:
                # The app that knows the user is not there while it is started anew.
                is_asking = self.asks and error.status == 502
                self.load.trouble("asked_in_vain" if is_asking else "opens_refused", error)
                await asyncio.sleep(0.5)
            await asyncio.sleep(random.random() * 0.2)

    async def read(self) -> None:
        path, fields = "/events", {}
        if self.asks:
            fields["cookie"] = f"sessionid={self.user}"
        else:
            seconds = 10 if random.random() < SHORT_LIVED else 3600
            path += "?token=" + quote(token(SECRET, self.user, seconds))
        if self.cursor:
            fields["last_event_id"] = self.cursor.decode()
        stream = await Stream.open(self.door, path, self.slow, **fields)
        counts, present = self.load.counts, self.load.present
        counts["opened"] += 1
        counts["resumed"] += self.cursor is not None
        present[self.user] += 1
        try:
            sleepy = asyncio.get_running_loop().time() + AWAKE
            while (events := await stream.events()) is not None:
                for event in events:
                    self.note(event)
                if self.slow and asyncio.get_running_loop().time() > sleepy:
                    await asyncio.sleep(SLEEP)
                    sleepy = asyncio.get_running_loop().time() + AWAKE
            counts["cut"] += 1
        finally:
            stream.close()
            present[self.user] -= 1
            if not present[self.user]:
                del present[self.user]

    def note(self, event: dict[bytes, bytes]) -> None:
        """Takes an event, and sees whether it is the next one of its channel."""
        self.cursor = event.get(b"id", self.cursor)
        counts, kind = self.load.counts, event.get(b"event")
        if kind is not None:
            counts["expired" if kind == b"error" else "resets"] += 1
            if kind == b"reset":
                self.seen.clear()
            return
        if (data := event.get(b"data")) is None:
            return
        channel, number, _ = data.split(b" ", 2)
        number, before = int(number), self.seen.get(channel)
        counts["received"] += 1
        if before is not None and number != before + 1:
            counts["lost" if number > before else "twice"] += max(number - before - 1, 1)
        self.seen[channel] = max(number, before or 0)


async def main(plain: str, tls: str, certificate: str, publish: str) -> None:
    """Runs it against these ports; the certificate is the only one that is trusted."""
    await Load(Door(int(plain)), Door(int(tls), trusting(certificate)), publish).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
