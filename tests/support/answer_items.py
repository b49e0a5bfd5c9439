"""Hypothesis strategies: what responders yield, much of it out of order, malformed or hard to store."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Emoji with joiners, combining marks, CJK, markdown, U+0000, and halves of surrogate pairs.
TEXTS = st.text(st.sampled_from("a \n`é\u0301茶😀👩\u200d🍳\0\ud83d\ude00"), max_size=12)
VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
IDS = st.sampled_from(["0", "1", "msg"])
CALL_IDS = st.sampled_from(["c1", "not an id"])


def chunks_of(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in fields.items()}
    )


def text_chunks(kind: str) -> list[st.SearchStrategy[dict[str, Any]]]:
    return [
        chunks_of(type=f"{kind}-start", id=IDS),
        chunks_of(type=f"{kind}-delta", id=IDS, delta=TEXTS),
        chunks_of(type=f"{kind}-end", id=IDS),
    ]


ITEMS = st.lists(
    st.one_of(
        TEXTS,
        *text_chunks("text"),
        *text_chunks("reasoning"),
        chunks_of(type="tool-input-start", toolCallId=CALL_IDS, toolName="search"),
        chunks_of(type="tool-input-delta", toolCallId=CALL_IDS, inputTextDelta=TEXTS),
        chunks_of(type="tool-input-available", toolCallId=CALL_IDS, toolName="search", input=VALUES),
        chunks_of(type="tool-input-error", toolCallId=CALL_IDS, toolName="search", input=VALUES, errorText="no"),
        chunks_of(type="tool-output-available", toolCallId=CALL_IDS, output=VALUES, preliminary=st.booleans()),
        chunks_of(type="tool-output-error", toolCallId=CALL_IDS, errorText=TEXTS),
        chunks_of(type="tool-output-denied", toolCallId=CALL_IDS),
        chunks_of(type="data-x", data=VALUES) | chunks_of(type="data-x", id=IDS, data=VALUES),
        chunks_of(type="source-url", sourceId="s", url="https://example.com/"),
        chunks_of(type="start-step") | chunks_of(type="finish-step"),
        VALUES.map(lambda value: {"type": value}),
    ),
    max_size=25,
)
