"""What a request or a connection fails with: `Unreachable` passes with time, `Refused` does not.

Layer: client.
"""

from __future__ import annotations

import os
from socket import gaierror
from ssl import SSLError

from roomcast.contract.errors import ErrorCode


class ClientError(Exception):
    """Base of this package. The text is one line for people."""


class Unreachable(ClientError):
    """No answer, or one that asks to try again later. Whether a request was carried out is unknown.

    Attributes:
        retry_after_s: The pause that the server asks for.
    """

    def __init__(self, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Refused(ClientError):
    """The server refuses the request, and would refuse it again.

    Attributes:
        code: The code of the error; None: the answer is not Roomcast's.
    """

    def __init__(self, text: str, code: ErrorCode | None) -> None:
        super().__init__(text)
        self.code = code


def cause_of(error: BaseException) -> str:
    """The text of an error of the network: that of the system call, if it has one."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, SSLError):
            return str(inner)  # its number is none of the system
        if isinstance(inner, OSError) and inner.errno is not None:
            # A name that does not resolve has a code of its own.
            return (inner.strerror if isinstance(inner, gaierror) else os.strerror(inner.errno)) or str(inner)
        inner = inner.exceptions[0] if isinstance(inner, BaseExceptionGroup) else inner.__cause__ or inner.__context__
    return str(error) or type(error).__name__
