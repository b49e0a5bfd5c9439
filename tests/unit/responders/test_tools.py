"""Tools from plain functions."""

from __future__ import annotations

import pytest

from roomcast.responders import Tool, ToolCall
from roomcast.responders.tools import run_tool, to_tools


def weather(city: str, days: int = 1) -> dict[str, object]:
    """The weather of a city."""
    return {"city": city, "days": days}


async def divide(dividend: float, divisor: float) -> float:
    return dividend / divisor


def test_a_function_becomes_a_tool_with_its_schema() -> None:
    tool = Tool.of(weather)
    assert (tool.name, tool.description) == ("weather", "The weather of a city.")
    assert tool.parameters == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "city": {"title": "City", "type": "string"},
            "days": {"default": 1, "title": "Days", "type": "integer"},
        },
        "required": ["city"],
    }


@pytest.mark.parametrize("function", [lambda city: city, print])
def test_a_function_without_types_is_refused(function: object) -> None:
    with pytest.raises(TypeError, match=r"no type|name of its own"):
        Tool.of(function)  # type: ignore[arg-type]  # is tested


@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("weather", '{"city": "Oslo"}', {"city": "Oslo", "days": 1}),
        ("weather", {"city": "Oslo", "days": 2}, {"city": "Oslo", "days": 2}),
        ("divide", '{"dividend": 1, "divisor": 4}', 0.25),
    ],
)
async def test_a_call_returns_its_result(name: str, arguments: object, result: object) -> None:
    chunk, text = await run_tool(to_tools([weather, divide]), "1", name, arguments)
    assert chunk == {"type": "tool-output-available", "toolCallId": "1", "output": result}
    assert text


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("weather", "{}", "city: Field required"),
        ("weather", '{"city": "Oslo", "hours": 1}', "hours"),
        ("weather", "{", "Expecting property name"),
        ("weather", "[]", "invalid arguments"),
        ("divide", '{"dividend": 1, "divisor": 0}', "the tool failed (ZeroDivisionError)"),
        ("search", "{}", "the tools are: weather, divide"),
    ],
)
async def test_a_failed_call_is_a_part_of_the_answer(name: str, arguments: str, problem: str) -> None:
    chunk, text = await run_tool(to_tools([weather, divide]), "1", name, arguments)
    assert chunk["type"] == "tool-output-error"
    assert problem in chunk["errorText"]
    assert text == f"Error: {chunk['errorText']}"


async def test_a_python_responder_shows_its_calls() -> None:
    call = ToolCall(weather, {"city": "Oslo"})
    started, ended = [chunk async for chunk in call.run()]
    assert started["toolCallId"] == ended["toolCallId"]
    assert (started["toolName"], started["input"]) == ("weather", {"city": "Oslo"})
    assert call.output == ended["output"] == {"city": "Oslo", "days": 1}
    failed = ToolCall(divide, {"dividend": "one", "divisor": 1})
    assert [chunk["type"] async for chunk in failed.run()] == ["tool-input-available", "tool-output-error"]
    assert failed.output is None
    assert "dividend: Input should be a valid number" in failed.text
