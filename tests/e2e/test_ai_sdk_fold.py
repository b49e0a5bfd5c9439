"""The AI SDK makes the same parts of published chunks as Roomcast: of each chunk, merged, and of a snapshot."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from roomcast.chat.answers.answer import Answer
from roomcast.chat.answers.chunks import ChunkRejected, merge
from support.answer_items import ITEMS

pytestmark = [pytest.mark.node, pytest.mark.official_clients]

SCRIPT = Path(__file__).parent / "official" / "fold.mjs"


def random_answers() -> list[tuple[Answer, list[Any]]]:
    """Answers that have ended, each with its published chunks."""
    answers: list[tuple[Answer, list[Any]]] = []

    @settings(max_examples=400, derandomize=True, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    @given(ITEMS)
    def build(items: list[Any]) -> None:
        answer = Answer()
        published = [*answer.begin("t")]
        for item in items:
            try:
                published += answer.add(item)
            except ChunkRejected:
                continue
        answers.append((answer, published + answer.end({"type": "finish"})))

    build()
    return answers


def comparable(parts: Any) -> list[dict[str, Any]]:
    """The parts without what only the AI SDK adds; it announces a step with the part that follows."""
    kept = [
        {name: value for name, value in part.items() if not (part["type"] == "reasoning" and name == "id")}
        for part in parts
    ]
    while kept and kept[-1]["type"] == "step-start":
        kept.pop()
    return kept


async def test_the_ai_sdk_builds_the_same_parts() -> None:
    answers = random_answers()
    lists = [chunks for answer, published in answers for chunks in (published, merge(published), answer.snapshot())]
    node = shutil.which("node")
    assert node is not None, "the marker `node` requires it"
    process = await asyncio.create_subprocess_exec(
        node, str(SCRIPT), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(json.dumps(lists).encode())
    assert process.returncode == 0
    # JavaScript has one type of number.
    folded = json.loads(output, parse_int=float)
    for index, (answer, _) in enumerate(answers):
        expected = comparable(json.loads(json.dumps(answer.parts()), parse_int=float))
        for parts in folded[3 * index : 3 * index + 3]:
            assert comparable(parts) == expected
