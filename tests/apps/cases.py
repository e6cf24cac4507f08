r"""The corpus: requests as bytes, and what was meant by each. Files of `corpus/` hold cases with an empty line between them:

    F3: lengths that differ
    < POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello
    > refused 400

The name begins with the row of the hazard. `<` lines are sent, one behind the other, as they stand but for \r \n \t \0 \\ \xHH
and \{x*900}, which is 900 times x. In `http2*.txt` each is a field (`name: value`), or `METHOD SCHEME AUTHORITY TARGET` for the
four pseudo-fields, `data TEXT`, or `trailer name: value`. `>` lines say what was meant:

    refused 400 501          no app may see it; answered with one of these (without a number: any from 400), or just closed
    POST /target             arrives so; repeated for a case that holds several requests
    body TEXT                with this body; without the line, with none
    has name: value          with this field in exactly one line
    not name                 without this field
    may be refused           arrives, or is refused
    closes                   the connection must not be used after it; without the line, what arrives must leave it open
    may close                it may be closed
    except NAME, NAME        not by app servers whose names begin so: it is refused for them, or by them
    cut                      the client closes its side behind it
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from deployment import HERE

FOLDER = HERE / "corpus"
REFUSED_ANYHOW = range(400, 600)


@dataclass
class Wanted:
    """A request as it should arrive."""

    method: str
    target: str
    body: str = ""
    has: dict[str, str] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)

    def differs(self, record: dict) -> str:
        """In what a record differs from this; nothing if it does not."""
        # ASGI has methods in capitals, and does not tell an empty query from none.
        is_method = record["method"] in (self.method, self.method.upper())
        if not is_method or record["target"].removesuffix("?") != self.target.removesuffix("?"):
            return f"{record['method']} {record['target']}"
        if record["body"] != self.body:
            return f"body {record['body']!r}"
        fields = record["fields"]
        for name, value in self.has.items():
            if fields.get(name) != [value]:
                return f"{name} is {fields.get(name)}"
        for name in self.without:
            if name in fields:
                return f"{name}: {fields[name]}"
        return ""


@dataclass
class Case:
    """One case of the corpus."""

    name: str
    file: str
    sent: list[str]
    wanted: list[Wanted] = field(default_factory=list)
    statuses: range | list[int] = REFUSED_ANYHOW
    may_be_refused: bool = False
    closes: bool = False
    may_close: bool = False
    refusing: list[str] = field(default_factory=list)
    cut: bool = False

    @property
    def row(self) -> str:
        """The row of the hazard it belongs to."""
        return self.name.partition(":")[0]

    @property
    def is_http2(self) -> bool:
        """Whether it is a list of fields rather than bytes."""
        return self.file.startswith("http2")

    @property
    def raw(self) -> bytes:
        """The bytes of a case of HTTP/1."""
        return unescape("".join(self.sent))


def load() -> list[Case]:
    """All cases, in the order of their files."""
    cases = [case for path in sorted(FOLDER.glob("*.txt")) for case in _read(path)]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), f"names that are there twice: {sorted({n for n in names if names.count(n) > 1})}"
    return cases


def unescape(text: str) -> bytes:
    """The bytes that a text with escapes stands for."""
    text = re.sub(r"\\\{(.+?)\*(\d+)\}", lambda found: found[1] * int(found[2]), text)
    simple = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
    text = re.sub(r"\\(?:x([0-9a-f]{2})|(.))", lambda found: chr(int(found[1], 16)) if found[1] else simple[found[2]], text)
    return text.encode("latin-1")


def _read(path: Path) -> list[Case]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    blocks = [block for block in "\n".join(lines).split("\n\n") if block.strip()]
    cases = []
    for block in blocks:
        name, *lines = block.strip("\n").splitlines()
        case = Case(name, path.name, [])
        for line in lines:
            mark, text = line[:2], line[2:]
            assert mark in ("< ", "> "), f"{path.name}, {name}: {line}"
            if mark == "< ":
                case.sent.append(text)
            else:
                _mean(case, text)
        assert re.match(r"[FHSRE]\d+: ", name) and case.sent, f"{path.name}, {name}"
        cases.append(case)
    return cases


def _mean(case: Case, text: str) -> None:
    word, _, rest = text.partition(" ")
    match word:
        case "refused":
            case.statuses = [int(status) for status in rest.split()] or REFUSED_ANYHOW
        case "may":
            case.may_be_refused |= rest == "be refused"
            case.may_close |= rest == "close"
        case "closes":
            case.closes = True
        case "cut":
            case.cut = True
        case "except":
            case.refusing = [name.strip() for name in rest.split(",")]
        case "body":
            case.wanted[-1].body = unescape(rest).decode("latin-1")
        case "has":
            name, _, value = rest.partition(":")
            case.wanted[-1].has[name] = unescape(value.strip()).decode("latin-1")
        case "not":
            case.wanted[-1].without.append(rest)
        case _:
            assert rest.startswith(("/", "*")), f"{case.name}: {text}"
            case.wanted.append(Wanted(word, unescape(rest).decode("latin-1")))
