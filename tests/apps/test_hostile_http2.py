"""Hostile clients over HTTP/2: what they cost is bounded, others are served, and no app takes half a request for whole."""

import http.client
import re
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hostile
import pytest
import trials
from deployment import wait_for
from hostile import ATTACKS, Attack, frame, head, number, opened
from wire import Http2

# Bounds of one attack, several times what was measured: a debug build on two busy cores keeps them too.
MEMORY = 8 << 20  # bytes by which it may grow in one attack, and over all of them
CPU = 4.0  # seconds
SLOWEST = 10.0  # seconds that another client's request may take
USUAL = 0.5  # seconds that half of them take at most
NEXT = 9999  # a stream that no attack has used


class Target:
    """Sidestream before one app server, and a client of good manners."""

    def __init__(self, upstream, front) -> None:
        self.upstream = upstream
        self.port = front.tls[upstream.name]
        self.pid = front.processes[0].child.pid

    def memory(self) -> int:
        """Its share of memory, in bytes."""
        return 1024 * int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{self.pid}/smaps_rollup").read_text(), re.M)[1])

    def cpu(self) -> float:
        """The seconds of CPU it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def rests(self, seconds: float) -> bool:
        """Whether it uses next to no CPU for so long; the clock that counts it has coarse ticks."""
        cpu = self.cpu()
        time.sleep(seconds)
        return self.cpu() - cpu <= 0.05

    def whole(self) -> list[dict]:
        """What the app took for whole requests of the hostile client since it was asked last."""
        return [record for record in self.upstream.new_records() if record["whole"] and record["target"] != "/calm"]


class Calm(threading.Thread):
    """A client on a connection of its own, which sends a request each few milliseconds while it is entered."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.client = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=ssl._create_unverified_context())
        self.took: list[float] = []
        self.failed: list[object] = []
        self._over = threading.Event()

    def __enter__(self) -> "Calm":
        self._ask()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self.client.close()

    def run(self) -> None:
        """Asks until it is left."""
        while not self._over.wait(0.005):
            self._ask()

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            self.client.request("GET", "/calm")
            response = self.client.getresponse()
            response.read()
            if response.status != 200:
                self.failed.append(response.status)
        except OSError as error:
            self.failed.append(error)
        self.took.append(time.monotonic() - began)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with trials.site(["Sidestream"], ["uvicorn httptools"]) as (upstreams, fronts):
        yield Target(upstreams[0], fronts[0])


@pytest.fixture(scope="module")
def before(target: Target) -> int:
    """Its memory when it has served somebody."""
    with Calm(target.port) as calm:
        wait_for(lambda: len(calm.took) > 20, 10, "twenty requests")
    return target.memory()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.usefixtures("before")
def test_an_attack_costs_little_and_hurts_nobody_else(target: Target, attack: Attack) -> None:
    cpu, memory = target.cpu(), target.memory()
    with Calm(target.port) as calm, Http2(target.port) as peer:
        assert peer.receive(lambda peer: peer.settled)
        for part in attack.frames():
            if not peer.send(part):
                break
        grown = target.memory() - memory
        cut_off, peer.closed = peer.closed, False  # there may be a last word to read
        peer.receive(lambda peer: peer.goaway is not None, 0.1)
        cut_off |= peer.closed
        if peer.goaway is None and not cut_off:
            peer.send(opened(NEXT))
            peer.receive(lambda peer: peer.done(NEXT) or peer.goaway is not None, 0.5 if attack.ends == "any" else 10)
        asked = len(calm.took)
        wait_for(lambda: len(calm.took) > asked + 1, 10, "another client's requests behind the attack")
    served = NEXT in peer.ended and peer.answers[NEXT].status == 200
    assert attack.ends != "closed" or peer.goaway or cut_off, f"GOAWAY {peer.goaway}, served {served}"
    assert attack.ends != "served" or served, f"GOAWAY {peer.goaway}, cut off {cut_off}"
    assert not calm.failed
    assert max(calm.took) < SLOWEST and statistics.median(calm.took) < USUAL
    assert max(grown, target.memory() - memory) < MEMORY
    assert target.cpu() - cpu < CPU


def test_an_attacker_that_has_gone_costs_nothing(target: Target, before: int) -> None:
    wait_for(lambda: target.rests(0.5), 10, "half a second in which it does nothing")
    wait_for(lambda: target.memory() - before < MEMORY, 10, "its memory as it was")


LENGTH = 60_000
SOME = b"".join(frame(hostile.DATA, 0, 1, b"x" * 10_000) for _ in range(3))
SAYS = opened(1, "POST", False, ("content-length", str(LENGTH)))
SAYS_NOTHING = opened(1, "POST", False)
LAST = hostile.END_HEADERS | hostile.END_STREAM
TRAILER = b"\x00\x03x-a\x01b"
LIES = {
    "an early end": SAYS + SOME + frame(hostile.DATA, hostile.END_STREAM, 1),
    "an early end by trailers": SAYS + SOME + frame(hostile.HEADERS, LAST, 1, TRAILER),
    "a reset": SAYS + SOME + frame(hostile.RST, 0, 1, number(8)),
    "a reset without an error": SAYS + SOME + frame(hostile.RST, 0, 1, number(0)),
    "a reset of a body of no length": SAYS_NOTHING + SOME + frame(hostile.RST, 0, 1, number(8)),
    "trailers that are a head": SAYS_NOTHING + SOME + frame(hostile.HEADERS, LAST, 1, head("POST", ("connection", "close"))),
    "trailers that do not end": SAYS_NOTHING + SOME + frame(hostile.HEADERS, hostile.END_HEADERS, 1, TRAILER),
    "a farewell": SAYS + SOME + frame(hostile.GOAWAY, 0, 0, number(1) + number(0)),
    "an error of the connection": SAYS_NOTHING + SOME + frame(hostile.PING, 0, 1, b"12345678"),
    "nothing more": SAYS + SOME,
    "nothing more of a body of no length": SAYS_NOTHING + SOME,
}


def test_no_app_takes_half_a_body_for_whole() -> None:
    with trials.site(["Sidestream"]) as (upstreams, fronts):
        targets = [Target(upstream, fronts[0]) for upstream in upstreams]
        for target in targets:
            for lie in LIES.values():
                with Http2(target.port) as peer:
                    peer.send(lie)
                    peer.receive(lambda peer: peer.done(1) or peer.goaway is not None, 0.05)
            with Http2(target.port) as peer:
                peer.send(opened(1, "POST", False, ("content-length", "30000")), SOME, frame(hostile.DATA, hostile.END_STREAM, 1))
                assert peer.receive(lambda peer: peer.done(1)) and peer.answers[1].status == 200, target.upstream.name
        for target in targets:
            lengths = [len(record["body"]) for record in target.whole()]
            assert lengths == [30_000], f"{target.upstream.name} took {lengths}"
