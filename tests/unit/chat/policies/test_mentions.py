from __future__ import annotations

import time

import pytest

from roomcast.chat.policies.mentions import mentions


@pytest.mark.parametrize(
    "content",
    [
        "@ai",
        "@AI what is tea?",
        "what is tea, @Ai?",
        "(@ai)",
        "Hello.@ai, help",
        "ask @ai.",
        "請問@ai這是什麼",
        "@ai、お茶とは",
        "\uff20ai 你好",
        "@ai야 안녕",
        "**@ai** please",
        "a `code` and @ai",
        "an unclosed ` before @ai",
        "`` ` `` @ai",
        "@aide and @ai",
        "@answer please",
        "請@ANSWER回答",
    ],
)
def test_a_mention_stands_alone_in_any_script_and_case(content: str) -> None:
    assert mentions(content, "my.module:answer")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "ai",
        "@aide",
        "@ai2",
        "@ai_x",
        "@aiß",
        "bob@ai.example",
        "bob@ai",
        "mail é@ai",
        "@ai.example",
        "@ai-tools",
        "npm install @ai/react",
        "https://example.com/@ai",
        "@@ai",
        "`@ai`",
        "`` a ` @ai ``",
        "```\n@ai\n```",
        "a `x` b `@ai` c",
        "@module:answer",
        "@my.module:answer",
        "@demo",
    ],
)
def test_names_that_only_contain_a_mention_are_none(content: str) -> None:
    assert not mentions(content, "my.module:answer")


def test_the_name_of_a_responder_has_no_meaning_as_a_pattern() -> None:
    assert mentions("@gpt-4.1, hello", "gpt-4.1")
    assert not mentions("@gpt-4x1, hello", "gpt-4.1")


def test_without_a_responder_only_the_general_name_is_a_mention() -> None:
    assert mentions("@ai", None)
    assert not mentions("@demo", None)


def test_the_time_grows_linearly_with_hostile_backticks() -> None:
    runs = " ".join("`" * length for length in range(1, 250))
    started = time.process_time()
    assert mentions(runs + " @ai", "demo")
    assert mentions("` `` " * 6_000 + "@ai" * 200 + " @ai", "demo")
    assert time.process_time() - started < 0.5
