from __future__ import annotations

import time
import uuid

from roomcast.chat.ids import new_id


def test_an_id_is_a_uuid_of_version_7_with_its_creation_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_are_unique_and_sort_by_creation_time() -> None:
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    times = [value[:18] for value in made]
    assert times == sorted(times)
