"""Runs a command, and restarts it when a Python file changes: ``reload.py DIRECTORY COMMAND [ARGUMENT …]``.

Files are compared twice a second: mounts of Docker Desktop report no file events.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

INTERVAL_S = 0.5


def snapshot(directory: Path) -> dict[Path, int]:
    """The times of change of all Python files."""
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*.py") if path.exists()}


def main() -> int:
    """Return the exit code of the command, or 0 if the signal ended it."""
    directory, command = Path(sys.argv[1]), sys.argv[2:]
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    while True:
        seen = snapshot(directory)
        with subprocess.Popen(command) as process:  # noqa: S603 - the command is the argument
            # After a crash it waits for the next change, as after a syntax error.
            while not stop.wait(INTERVAL_S) and snapshot(directory) == seen:
                pass
            process.terminate()
        if stop.is_set():
            return max(process.returncode, 0)
        print("reload: the source has changed", file=sys.stderr, flush=True)  # noqa: T201 - a program of its own


if __name__ == "__main__":
    sys.exit(main())
