from dataclasses import FrozenInstanceError

import pytest

from roomcast.wire.limits import DEFAULT_LIMITS, DEFAULT_TIMEOUTS, Limits


def test_defaults_equal_those_of_node() -> None:
    assert DEFAULT_LIMITS.max_payload_bytes == 1_000_000
    assert DEFAULT_LIMITS.max_attachments == 10
    assert DEFAULT_TIMEOUTS.ping_interval_s == 25
    assert DEFAULT_TIMEOUTS.ping_timeout_s == 20
    assert DEFAULT_TIMEOUTS.upgrade_timeout_s == 10
    assert DEFAULT_TIMEOUTS.close_timeout_s == 30


def test_limits_are_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        Limits().max_attachments = 11  # type: ignore[misc]
