"""The first code of a process: signals, standard streams, exit codes. It imports nothing that takes long.

Exit codes: `exit_codes`; an ordinary stop is 0. Before the servers have started, Ctrl-C gives 130 and SIGTERM 143. An
expected failure prints one line; a traceback is a bug.

Layer: cli.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from io import TextIOWrapper

from roomcast.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED


def main() -> None:
    """Run the command; the entry point of the console script."""
    # The kernel discards a signal for process 1 (of a container) that has no handler. The services replace this one.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_TERMINATED))
    _prepare_standard_streams()
    try:
        from roomcast.cli.commands import run

        run()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        from roomcast.observability.logs import report_error

        report_error("cannot write to the standard output: no space left on the device")
        # The text that could not be written would be written again at the exit.
        os._exit(EXIT_FAILED)


def _prepare_standard_streams() -> None:
    """Open missing streams, and let every text be printed in every encoding.

    The descriptor of a missing stream could become that of a socket, which would then receive printed text.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            # `open` returns the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
