from __future__ import annotations

import pytest

from roomcast.gateway.delivery.replay import Recording, ReplayLimits, complete_replay
from support.gateway_model import entry

SIZE = len(entry(1).args)


def entries(*seqs: int):
    return [entry(seq) for seq in seqs]


def recorded(limits: ReplayLimits, count: int) -> list[int]:
    recording = Recording(limits)
    for seq in range(1, count + 1):
        recording.add(entry(seq))
    return [kept.seq for kept in recording.entries]


def test_a_recording_is_bounded_in_entries() -> None:
    assert recorded(ReplayLimits(max_entries=2), 4) == [1, 2]


def test_a_recording_is_bounded_in_bytes() -> None:
    assert recorded(ReplayLimits(max_bytes=2 * SIZE), 4) == [1, 2]
    assert recorded(ReplayLimits(max_bytes=2 * SIZE - 1), 4) == [1]


@pytest.mark.parametrize(
    ("read", "record", "after", "last", "seqs"),
    [
        (entries(3, 4), entries(), 2, 4, [3, 4]),
        (entries(3, 4), entries(5, 6), 2, 6, [3, 4, 5, 6]),
        (entries(3, 4, 5), entries(4, 5, 6), 2, 6, [3, 4, 5, 6]),  # the read and the recording overlap
        (entries(1, 2, 3, 4), entries(), 2, 3, [3]),  # entries outside the range
        (entries(), entries(3), 2, 3, [3]),
        (entries(), entries(), 2, 2, []),
        (entries(4), entries(), 2, 4, None),
        (entries(3), entries(5), 2, 5, None),
        (entries(3), entries(), 2, 4, None),
        ([entry(3), entry(4, version=99)], entries(), 2, 4, None),
    ],
)
def test_a_replay_has_each_entry_of_the_range_once_or_is_none(read, record, after, last, seqs) -> None:
    replay = complete_replay(read, record, after, last, ReplayLimits())
    assert (None if replay is None else [found.seq for found in replay]) == seqs


@pytest.mark.parametrize(
    ("limits", "complete"),
    [
        (ReplayLimits(max_entries=3), True),
        (ReplayLimits(max_entries=2), False),
        (ReplayLimits(max_bytes=3 * SIZE), True),
        (ReplayLimits(max_bytes=3 * SIZE - 1), False),
    ],
)
def test_the_limits_apply_to_the_whole_replay(limits, complete) -> None:
    replay = complete_replay(entries(1, 2), entries(3), 0, 3, limits)
    assert (replay is not None) is complete
