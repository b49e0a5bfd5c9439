from __future__ import annotations

import subprocess
import sys
import time
import uuid
from typing import SupportsIndex

import pytest

from roomcast.chat import ids
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


def test_another_thread_may_take_the_last_random_number(monkeypatch: pytest.MonkeyPatch) -> None:
    class Contended(list[int]):
        def pop(self, index: SupportsIndex = -1, /) -> int:
            if len(self) == 1:
                self.clear()  # the other thread
            return super().pop(index)

    monkeypatch.setattr(ids, "_pool", Contended([1]))
    made = [new_id() for _ in range(2_000)]
    assert len({id_[-16:] for id_ in made}) == len(made)


def test_a_forked_process_has_other_random_bits() -> None:
    program = "import os; from roomcast.chat.ids import new_id; new_id(); os.fork(); os.write(1, new_id().encode())"
    # The parent may end before the child has written.
    printed = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout.decode()
    first, second = printed[:36], printed[36:]
    assert len(second) == 36
    assert first[-16:] != second[-16:]
