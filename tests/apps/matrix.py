"""Writes docs/corpus.md: what came of the corpus behind Sidestream, nginx and HAProxy. It is run as a program."""

from collections import Counter
from pathlib import Path

import cases
import fronts
import trials
from cases import Case
from deployment import HERE
from trials import FRONTS, Outcome, Results

PAGE = HERE.parent.parent / "docs" / "corpus.md"

INTRODUCTION = """\
# The corpus

{count} requests as bytes, each with what was meant by it: the files in [`tests/apps/corpus`](../tests/apps/corpus), in the form
that [`cases.py`](../tests/apps/cases.py) describes. They are requests that readers of HTTP could understand in two ways, that
name fields which are not theirs to say, or that are no requests. Each goes through Sidestream to {servers}, which write down
what they receive, and is followed on its connection by a plain request. What an app receives is what was meant, or the case was
refused; no app sees a request that nobody sent, no client gets an answer that is not its own, and the plain request arrives as
itself, or not at all because the connection was closed. `tests/all` holds Sidestream to it. nginx {nginx} and HAProxy {haproxy},
as Debian packages them and with the settings that their users copy, are the control: they show that the apps can be reached by
what the corpus holds. Not all that they let through does harm by itself.

This page is written by `python tests/apps/matrix.py`.
"""


def page(corpus: list[Case], results: Results, versions: dict[str, str]) -> str:
    """The page in Markdown."""
    servers = list(results[FRONTS[0]])
    named = f"{', '.join(servers[:-1])} and {servers[-1]}"
    parts = [INTRODUCTION.format(count=len(corpus), servers=named, nginx=versions["nginx"], haproxy=versions["HAProxy"])]
    parts += ["## By app server", "", "As meant / refused instead / otherwise.", ""]
    parts += _table(["App server", *FRONTS], [[name, *(_counts(results[front][name]) for front in FRONTS)] for name in servers])
    parts += ["", "## By hazard", "", "Cases that went otherwise than meant for at least one app server, and were not refused.", ""]
    parts += _table(["Hazard", "Cases", *FRONTS], _by_row(corpus, results))
    parts += ["", "## Case by case", "", "Those that went otherwise behind a control, and how.", ""]
    parts += _table(["Case", *FRONTS[1:]], _differing(corpus, results))
    return "\n".join(parts) + "\n"


def summary(corpus: list[Case], results: Results) -> list[str]:
    """A line for each proxy."""
    return [
        f"corpus: {front}: {len(corpus)} cases to {len(results[front])} app servers, {_counts(sum(results[front].values(), []))} "
        "as meant / refused instead / otherwise"
        for front in results
    ]


def _counts(outcomes: list[Outcome]) -> str:
    kinds = Counter("meant" if outcome.is_meant else "refused" if outcome.is_refused else "otherwise" for outcome in outcomes)
    return f"{kinds['meant']} / {kinds['refused']} / {kinds['otherwise']}"


def _by_row(corpus: list[Case], results: Results) -> list[list[str]]:
    counted = Counter(case.row for case in corpus)
    rows = sorted(counted, key=lambda row: (row[0], int(row[1:])))
    otherwise = {
        front: Counter(case.row for number, case in enumerate(corpus) if _texts(results, front, number)) for front in FRONTS
    }
    return [[row, str(counted[row]), *(str(otherwise[front][row] or "") for front in FRONTS)] for row in rows]


def _differing(corpus: list[Case], results: Results) -> list[list[str]]:
    rows = []
    for number, case in enumerate(corpus):
        said = [_texts(results, front, number) for front in FRONTS[1:]]
        if any(said):
            rows.append([case.name, *said])
    return sorted(rows, key=lambda row: (row[0][0], int(row[0].partition(":")[0][1:])))


def _texts(results: Results, front: str, number: int) -> str:
    """How a case went otherwise, for each way the app servers for which it did."""
    ways: dict[str, list[str]] = {}
    for server, outcomes in results[front].items():
        if not outcomes[number].is_meant and not outcomes[number].is_refused:
            ways.setdefault(outcomes[number].text, []).append(server)
    return "; ".join(text if len(ways) == 1 else f"{text} ({len(servers)})" for text, servers in ways.items())


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def _cell(text: str) -> str:
    """A cell without what would end it, and without bytes that are no text."""
    printable = "".join(sign if sign.isprintable() and sign.isascii() else f"\\x{ord(sign):02x}" for sign in text)
    return printable.replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")


def main() -> None:
    """Runs the corpus and writes the page."""
    corpus = cases.load()
    results = trials.run(corpus, FRONTS)
    Path(PAGE).write_text(page(corpus, results, fronts.versions()))
    print("\n".join(summary(corpus, results)))


if __name__ == "__main__":
    main()
