"""The corpus through Sidestream, and through nginx and HAProxy as the control."""

import cases
import matrix
import pytest
import trials

# The rows of the hazards that a request can bring along.
ROWS = {f"F{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, 16, 18, 19)}
ROWS |= {f"H{n}" for n in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 13, 14)} | {"S4", "S6"}


def test_what_arrives_is_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    corpus = cases.load()
    results = trials.run(corpus, trials.FRONTS)
    with capsys.disabled():
        print("", *matrix.summary(corpus, results), sep="\n")
    wrong = [
        f"{case.file}, {case.name}: {upstream}: {outcome.text}"
        for upstream, outcomes in results["Sidestream"].items()
        for case, outcome in zip(corpus, outcomes, strict=True)
        if not outcome.is_meant
    ]
    assert not wrong, "\n".join(wrong)
    # A harness that lets everything pass would let the controls pass too.
    for control in ("nginx", "HAProxy"):
        assert any(not outcome.is_meant for outcome in results[control]["node"]), control


def test_the_corpus_holds_every_hazard() -> None:
    corpus = cases.load()
    assert len(corpus) >= 300
    assert {case.row for case in corpus} == ROWS
