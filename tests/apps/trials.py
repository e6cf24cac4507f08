"""Sends the corpus through each proxy to each app server, and says what came of every case."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cases
from cases import Case, Wanted
from deployment import write_certificate
from fronts import Front
from hyperframe.frame import DataFrame
from upstreams import SERVERS, Upstream
from wire import PATIENCE, Answer, Http2, Silence, http1

FRONTS = ["Sidestream", "nginx", "HAProxy"]


@dataclass(frozen=True)
class Outcome:
    """What came of a case: in words that are equal for equal outcomes, and whether that is what was meant, or at least safe."""

    text: str
    is_meant: bool
    is_refused: bool = False


# Of each proxy, for each app server, in the order of the cases.
Results = dict[str, dict[str, list[Outcome]]]


@contextmanager
def site(names: list[str], servers: Iterable[str] = SERVERS) -> Iterator[tuple[list[Upstream], list[Front]]]:
    """App servers, and these proxies in front of each of them."""
    folder = Path(tempfile.mkdtemp(prefix="corpus-"))
    folder.chmod(0o755)  # nginx's workers are not root
    upstreams: list[Upstream] = []
    fronts: list[Front] = []
    try:
        write_certificate(folder)
        upstreams += [Upstream(name, folder) for name in servers]
        fronts += [Front(name, folder, upstreams) for name in names]
        for started in [*upstreams, *fronts]:
            started.wait()
        yield upstreams, fronts
    finally:
        for front in fronts:
            for process in front.processes:
                process.kill()
        for upstream in upstreams:
            upstream.process.kill()
        shutil.rmtree(folder)


def run(corpus: list[Case], names: list[str]) -> Results:
    """Every case through each of the proxies; the app servers are tried side by side, the cases of one in order."""
    with site(names) as (upstreams, fronts), ThreadPoolExecutor(len(upstreams)) as pool:
        lanes = {upstream.name: pool.submit(_lane, corpus, fronts, upstream) for upstream in upstreams}
        return {name: {lane: lanes[lane].result()[name] for lane in lanes} for name in names}


def _lane(corpus: list[Case], fronts: list[Front], upstream: Upstream) -> dict[str, list[Outcome]]:
    outcomes = {}
    for front in fronts:
        outcomes[front.name] = [_try(case, number, front, upstream) for number, case in enumerate(corpus)]
        late = upstream.new_records()
        assert not late or front.name != "Sidestream", f"{upstream.name} was sent what nobody asked for: {late}"
    return outcomes


def _try(case: Case, number: int, front: Front, upstream: Upstream) -> Outcome:
    sentinel = Wanted("GET", f"/sentinel?{number}")
    # A control that goes on waiting is only noted.
    patience = PATIENCE if front.name == "Sidestream" else 3.0
    try:
        if case.is_http2:
            answers = _http2(case, sentinel, front.tls[upstream.name], patience)
        else:
            follows = f"GET {sentinel.target} HTTP/1.1\r\nHost: sentinel\r\nConnection: close\r\n\r\n".encode()
            sent = case.raw if case.cut else case.raw + follows
            methods = [wanted.method for wanted in case.wanted]
            answers = http1(front.plain[upstream.name], sent, methods, case.cut, patience)
    except Silence:
        upstream.new_records()
        return Outcome("left waiting", False)
    return _judge(case, sentinel, answers, upstream)


def _http2(case: Case, sentinel: Wanted, port: int, patience: float) -> list[Answer]:
    """The answers to a case, and to the sentinel behind it on the same connection."""
    with Http2(port) as peer:
        fields, frames, trailers = [], [], []
        for line in case.sent:
            word, _, rest = line.partition(" ")
            if word == "data":
                frames.append(DataFrame(1, cases.unescape(rest)))
            elif word == "trailer":
                trailers.append(_field(rest))
            elif word.isupper() and rest.count(" ") == 2:
                parts = [cases.unescape(part) for part in line.split(" ")]
                fields += list(zip((b":method", b":scheme", b":authority", b":path"), parts, strict=True))
            else:
                fields.append(_field(line))
        sent = peer.headers(1, fields, end=not frames and not trailers) + frames
        if trailers:
            sent += peer.headers(1, trailers)
        elif frames:
            frames[-1].flags.add("END_STREAM")
        peer.send(*sent)
        waited = peer.receive(lambda peer: peer.done(1) or peer.goaway is not None, patience)
        plain = {":method": "GET", ":scheme": "https", ":authority": "sentinel", ":path": sentinel.target}
        peer.send(*peer.headers(3, [(name.encode(), value.encode()) for name, value in plain.items()]))
        if not waited or not peer.receive(lambda peer: peer.done(3), patience):
            raise Silence
        return [peer.answers.get(1, Answer(0, {})), *filter(None, [peer.answers.get(3)])]


def _field(line: str) -> tuple[bytes, bytes]:
    name, _, value = line[1:].partition(": ")
    return cases.unescape(line[:1] + name), cases.unescape(value)


def _judge(case: Case, sentinel: Wanted, answers: list[Answer], upstream: Upstream) -> Outcome:
    received = upstream.new_records()
    if stray := _belongs_to_another(answers, received):
        return Outcome(f"answered with what belongs to another request: {stray}", False)
    # What broke off was never the app's to act on. A sentinel of an earlier case was its client's own.
    received = [record for record in received if record["whole"]]
    followed = [record for record in received if not sentinel.differs(record)]
    records = [record for record in received if not record["target"].startswith("/sentinel?")]
    if not records:
        return _refused(case, answers, bool(followed), upstream)
    if not case.wanted or len(records) > len(case.wanted):
        said = ", ".join(f"{record['method']} {record['target']}" for record in records)
        return Outcome(f"arrived as {said}"[:100], False)
    for record, wanted in zip(records, case.wanted, strict=False):
        if difference := wanted.differs(record):
            return Outcome(f"arrived with {difference}"[:100], False)
    if len(records) < len(case.wanted):
        return Outcome(f"{len(records)} of {len(case.wanted)} arrived", case.may_be_refused)
    if followed and case.closes:
        return Outcome("arrived, left open", False)
    if not followed and not (case.closes or case.may_close or case.cut):
        return Outcome("arrived, closed", False)
    return Outcome("arrived", True)


def _refused(case: Case, answers: list[Answer], followed: bool, upstream: Upstream) -> Outcome:
    """What a case is of which no app saw anything."""
    answer = answers[0] if answers and not (followed and len(answers) == 1) else Answer(0, {})
    if answer.status and answer.status < 400:
        return Outcome(f"answered {answer.status} by itself", False)
    if followed and case.closes:
        return Outcome("refused, left open", False)
    may_be = not case.wanted or case.may_be_refused or upstream.name.startswith(tuple(case.refusing))
    says_so = not answer.status or answer.status in case.statuses
    return Outcome(f"refused {answer.status or ''}".strip(), may_be and says_so, is_refused=True)


def _belongs_to_another(answers: list[Answer], records: list[dict]) -> str:
    """The request for which an answer was made that this client should not have, if there is one."""
    said = [answer.body for answer in answers if answer.status == 200 and answer.whole and answer.body.startswith(b"{")]
    order = [json.loads(body) for body in said if body.endswith(b"}\n")]
    strays = [record for record in order if record not in records]
    if not strays and order != [record for record in records if record in order]:
        strays = order
    return f"{strays[0]['method']} {strays[0]['target']}" if strays else ""
