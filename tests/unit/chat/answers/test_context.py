from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from roomcast.chat.answers.context import MESSAGE_TOKENS, build_prompt, estimate_tokens
from roomcast.chat.model import ChatAi, StoredMessage, StoredTurn, Turn, TurnClaim
from roomcast.chat.ports import Prompt
from roomcast.contract.events import TurnStatus

TIME = datetime(2026, 11, 28, tzinfo=UTC)


def asked(place: int, content: str = "", user_id: str | None = "ann") -> StoredMessage:
    """A USER message with the id ``q<place>``."""
    content = content or f"question {place}"
    return StoredMessage(f"q{place}", "c", "e", place, "USER", content, user_id, None, TIME, place)


def answered(
    place: int, question: str, content: str = "answer", status: TurnStatus = TurnStatus.COMPLETE
) -> StoredMessage:
    """The answer of a message, with the id ``a<place>``."""
    turn = StoredTurn(f"a{place}", question, status)
    return StoredMessage(f"a{place}", "c", "e", place, "AI", content, None, None, TIME, place, turn=turn)


def turn_of(question: StoredMessage, ai: ChatAi | None = None) -> Turn:
    return Turn(TurnClaim(chat_id="c", turn_id="turn", generation=1), "c", question, "demo", ai or ChatAi())


def ids(prompt: Prompt) -> list[str]:
    return [message.id for message in prompt.history]


def test_each_answer_follows_its_question_whenever_it_was_written() -> None:
    # Two questions were asked before the first answer started.
    messages = [asked(1), asked(2), answered(3, "q1"), answered(4, "q2"), asked(5)]
    assert ids(build_prompt(turn_of(asked(5)), messages)) == ["q1", "a3", "q2", "a4"]
    assert ids(build_prompt(turn_of(asked(2)), messages)) == ["q1", "a3"]


def test_what_follows_a_question_that_is_answered_again_is_left_out() -> None:
    messages = [asked(1), answered(2, "q1"), asked(3), answered(4, "q3"), asked(5), answered(6, "q5")]
    assert ids(build_prompt(turn_of(asked(3)), messages)) == ["q1", "a2"]


def test_a_deleted_message_and_its_answer_are_left_out() -> None:
    messages = [asked(1), answered(2, "q1"), replace(asked(3), content="", deleted=True), answered(4, "q3"), asked(5)]
    assert ids(build_prompt(turn_of(asked(5)), messages)) == ["q1", "a2"]


def test_answers_without_a_use_are_left_out_and_partial_ones_kept() -> None:
    messages = [
        asked(1),
        answered(2, "q1", status=TurnStatus.FAILED),
        asked(3),
        answered(4, "q3", status=TurnStatus.STOPPED),
        asked(5),
        answered(6, "q5", status=TurnStatus.INCOMPLETE),
        asked(7),
        answered(8, "q7", content=" \n"),
        asked(9),
        answered(10, "q9", status=TurnStatus.STREAMING),
        answered(11, "an earlier version"),
    ]
    assert ids(build_prompt(turn_of(asked(12)), messages)) == ["q1", "q3", "a4", "q5", "a6", "q7", "q9"]


def test_the_newest_messages_fill_the_budget_and_no_answer_lacks_its_question() -> None:
    messages = [asked(1), answered(2, "q1"), asked(3, "x" * 400), answered(4, "q3"), asked(5), answered(6, "q5")]
    cost = sum(estimate_tokens(text) + MESSAGE_TOKENS for text in ("question 7", "answer", "question 5"))
    question = asked(7)
    # With 50 tokens more, the answer before them fits, but not its question.
    for spare in (0, 50):
        prompt = build_prompt(turn_of(question, ChatAi(token_budget=cost + spare)), messages)
        assert ids(prompt) == ["q5", "a6"]
        assert prompt.message == question
    assert ids(build_prompt(turn_of(question, ChatAi(token_budget=cost - 1)), messages)) == []


def test_a_message_of_a_service_may_come_first() -> None:
    greeting = StoredMessage("g", "c", "e", 1, "AI", "Hello!", None, None, TIME, 1)
    assert ids(build_prompt(turn_of(asked(2)), [greeting, asked(2)])) == ["g"]


def test_the_system_prompt_is_counted_and_not_cut() -> None:
    ai = ChatAi(system_prompt="s" * 4_000, token_budget=300, model="m")
    prompt = build_prompt(turn_of(asked(2), ai), [asked(1)])
    assert (prompt.system, prompt.model, prompt.turn_id) == ("s" * 4_000, "m", "turn")
    assert (prompt.history, prompt.message.content) == ((), "question 2")


@given(st.text(st.sampled_from("ab é茶🍵"), min_size=300, max_size=2_000), st.integers(256, 600))
def test_a_question_is_cut_only_if_it_alone_exceeds_the_budget(text: str, budget: int) -> None:
    prompt = build_prompt(turn_of(asked(1, text), ChatAi(token_budget=budget)), [])
    content = prompt.message.content
    if estimate_tokens(text) + MESSAGE_TOKENS <= budget:
        assert content == text
    else:
        assert content.endswith("…")
        assert text.startswith(content[:-1])
        assert budget - 3 <= estimate_tokens(content) + MESSAGE_TOKENS <= budget


def test_authors_are_named_only_if_there_are_several() -> None:
    alone = build_prompt(turn_of(asked(3)), [asked(1), answered(2, "q1")])
    assert [message.content for message in (*alone.history, alone.message)] == ["question 1", "answer", "question 3"]
    shared = build_prompt(turn_of(asked(3)), [asked(1, "hi", "bob"), answered(2, "q1")])
    assert [message.content for message in (*shared.history, shared.message)] == [
        "bob: hi",
        "answer",
        "ann: question 3",
    ]


def test_tokens_are_estimated_by_script() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "喝茶", "tea 茶")] == [0, 1, 1, 2, 2, 2]
