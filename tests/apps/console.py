"""A program in an app's own language that a test can ask: it calls the app's functions, as the app would."""

import json
import os
import subprocess
from pathlib import Path


class Console:
    """A child process that answers each line of JSON with a line of JSON."""

    def __init__(self, command: list[str], log: Path, cwd: Path, environment: dict[str, str] = os.environ) -> None:
        self.log = log
        with log.open("wb") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
            self._child = subprocess.Popen(command, cwd=cwd, env=environment, **pipes)

    def ask(self, question: object) -> list:
        """The answer to a question; fails with what the program complained of when it has none."""
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        answer = self._child.stdout.readline()
        assert answer, self.log.read_text()
        return json.loads(answer)

    def close(self) -> None:
        """Ends the program."""
        self._child.kill()
        self._child.communicate()
