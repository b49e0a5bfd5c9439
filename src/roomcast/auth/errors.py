"""The errors of this package.

Layer: auth.
"""

from __future__ import annotations


class AuthError(Exception):
    """Base of this package."""


class WeakSecret(AuthError):
    """The signing secret is too short."""

    def __init__(self, size_bytes: int, least_bytes: int) -> None:
        super().__init__(f"the secret has {size_bytes} bytes; use at least {least_bytes} random bytes")
        self.size_bytes = size_bytes


class InvalidOptions(AuthError):
    """Options contradict each other, or a key cannot be used.

    Attributes:
        option: The field of `ProviderOptions`.
        problem: What is wrong, to follow the name of the option.
    """

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option} {problem}")
        self.option = option
        self.problem = problem


class TokenRejected(AuthError):
    """The token is not valid. The text gives the reason without quoting the token, so it may be shown to the bearer."""


class TokenExpired(TokenRejected):
    """The token has expired."""

    def __init__(self) -> None:
        super().__init__("the token has expired; get a new one")


class SessionEnded(TokenRejected):
    """The token was ended before its expiry."""

    def __init__(self) -> None:
        super().__init__("the session of this token has ended; sign in again")


class KeyNotLoaded(TokenRejected):
    """No loaded key of the provider may verify the token. `TokenVerifier.authenticate` loads the keys again."""

    def __init__(self) -> None:
        super().__init__("the token is signed with a key that its provider does not publish; get a new one")


class KeysUnavailable(AuthError):
    """The keys of the provider cannot be loaded at the moment, so it is not known whether the token is valid."""

    def __init__(self) -> None:
        super().__init__("the keys of the identity provider cannot be loaded at the moment; try again soon")
