"""The exit codes of every command. 0 is success.

Layer: cli.
"""

from __future__ import annotations

import signal
from typing import Final

EXIT_FAILED: Final = 1
#: Invalid options or environment.
EXIT_USAGE: Final = 2
#: The server refuses the token or the request.
EXIT_REFUSED: Final = 3
#: There is no such chat, or the user is no member.
EXIT_NO_CHAT: Final = 4
EXIT_UNREACHABLE: Final = 5
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
EXIT_TERMINATED: Final = 128 + signal.SIGTERM
