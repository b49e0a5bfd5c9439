"""The same cases test the fold of the client: web/packages/client/test/answer.test.ts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roomcast.chat.answers.answer import Answer

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "cases" / "answers.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_published_chunks_are_folded_into_parts(case: dict[str, Any]) -> None:
    answer = Answer.from_chunks(case["chunks"])
    compacted = Answer.from_chunks(answer.snapshot())
    for folded in (answer, compacted):
        assert list(folded.parts()) == case["parts"]
        assert folded.content() == case["content"]
