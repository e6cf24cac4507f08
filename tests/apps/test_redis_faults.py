"""The fault tool over Redis in its short form: three nodes, and every fault once."""

import subprocess

from deployment import BINARY

FAULTS = "kill restart forget older stop cut failover flush unsubscribe slow".split()


def test_nothing_is_lost_in_silence_whatever_breaks() -> None:
    # It is built with the tests of the debug profile, and breaks the binary that the other tests use.
    built = [folder / "examples/faults" for folder in (BINARY.parent.parent / "debug", BINARY.parent)]
    tool = next((path for path in built if path.exists()), None)
    assert tool is not None, f"{built[0]} is missing: cargo build --example faults"
    # A busy machine is given less to do and more time.
    few = "--redis --seed 1 --readers 100 --rate 100 --back 3000 --patience 60 --binary".split()
    done = subprocess.run([tool, *few, BINARY], capture_output=True, text=True, timeout=300)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    acknowledged = {row[0]: int(row[1]) for row in rows if len(row) == 11 and row[1].isdigit()}
    assert list(acknowledged) == FAULTS and min(acknowledged.values()) > 0
