"""Tools: plain typed functions that an answer calls. Their calls and results are parts of the answer.

Layer: responders.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pydantic import TypeAdapter, ValidationError, create_model
from pydantic_core import to_jsonable_python

from roomcast.chat.answers.chunks import clean_text
from roomcast.chat.ids import new_id
from roomcast.chat.ports import Chunk
from roomcast.responders.threads import in_thread

logger = logging.getLogger(__name__)

#: A call that takes longer fails; the answer goes on with the error.
TIME_LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: The name by which the model calls it.
        description: What the model learns about it.
        parameters: JSON schema of the arguments, an object.
        call: Validates the arguments and calls the function.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[[Mapping[str, Any]], Awaitable[Any]]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Self:
        """The tool of a function: its name, its docstring, and its annotations as the schema of the arguments.

        A function that is not ``async`` runs in a thread.

        Raises:
            TypeError: a parameter has no annotation, or the annotations have no schema.
        """
        name = function.__name__
        fields: dict[str, Any] = {}
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
                raise TypeError(f"the tool {name} takes {parameter}: give every parameter a name of its own")
            if parameter.annotation is parameter.empty:
                raise TypeError(f"the parameter {parameter.name!r} of the tool {name} has no type: annotate it")
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (parameter.annotation, default)
        arguments = create_model(name, __config__={"extra": "forbid"}, **fields)
        schema = TypeAdapter(arguments).json_schema()
        schema.pop("title", None)

        async def call(given: Mapping[str, Any]) -> Any:
            checked = arguments.model_validate(given)
            values = {field: getattr(checked, field) for field in fields}
            if inspect.iscoroutinefunction(function):
                return await function(**values)
            return await in_thread(function, **values)

        return cls(name, inspect.getdoc(function) or name, schema, call)


def to_tools(tools: Sequence[Tool | Callable[..., Any]]) -> dict[str, Tool]:
    """Tools by name; functions become tools."""
    made = [tool if isinstance(tool, Tool) else Tool.of(tool) for tool in tools]
    return {tool.name: tool for tool in made}


async def run_tool(tools: Mapping[str, Tool], call_id: str, name: str, arguments: Any) -> tuple[Chunk, str]:
    """Call a tool. The chat and the model see the text of a `ValueError`, and only the type of another exception.

    Args:
        tools: The tools by name.
        call_id: Id of the call.
        name: Name of the tool that the model called.
        arguments: The arguments, or the JSON text in which the model wrote them.

    Returns:
        The chunk with the result or the error, and its text for the model.
    """
    if name not in tools:
        return _error(call_id, f"there is no tool {name!r}; the tools are: {', '.join(tools) or 'none'}")
    try:
        given = json.loads(arguments or "{}") if isinstance(arguments, str) else arguments
        async with asyncio.timeout(TIME_LIMIT_S):
            output = to_jsonable_python(await tools[name].call(given), fallback=str)
    except ValidationError as error:
        problem = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        return _error(call_id, f"invalid arguments: {problem}")
    except ValueError as error:
        logger.warning("a tool failed", exc_info=error, extra={"tool": name})
        return _error(call_id, str(error) or "invalid value")
    except TimeoutError:
        return _error(call_id, f"no result within {TIME_LIMIT_S:.0f} s")
    except Exception as error:
        # An error of a tool is a part of the answer: the model may try something else. The text is for the log only,
        # since it may contain an address or a password.
        logger.warning("a tool failed", exc_info=error, extra={"tool": name})
        return _error(call_id, f"the tool failed ({type(error).__name__})")
    text = clean_text(output if isinstance(output, str) else json.dumps(output, ensure_ascii=False))
    return {"type": "tool-output-available", "toolCallId": call_id, "output": output}, text


@dataclass(slots=True)
class ToolCall:
    """A call of a tool by a Python responder, which the chat shows as a part of the answer.

    ::

        call = ToolCall(weather, {"city": "Oslo"})
        async for chunk in call.run():
            yield chunk
        yield f"The weather is {call.output}."

    Attributes:
        tool: The tool, or the function that becomes one.
        arguments: Checked by the annotations of the function.
        output: The result as a JSON value; None if the call has failed.
        text: The result, or the error, as a text for a model.
    """

    tool: Tool | Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    output: Any = field(default=None, init=False)
    text: str = field(default="", init=False)

    async def run(self) -> AsyncIterator[Chunk]:
        """Call the tool; yield the chunk of the call, and that of its result or error."""
        ((name, tool),) = to_tools([self.tool]).items()
        call = {"toolCallId": new_id(), "toolName": name}
        yield {"type": "tool-input-available", **call, "input": dict(self.arguments)}
        chunk, self.text = await run_tool({name: tool}, call["toolCallId"], name, self.arguments)
        self.output = chunk.get("output")
        yield chunk


def _error(call_id: str, problem: str) -> tuple[Chunk, str]:
    return {"type": "tool-output-error", "toolCallId": call_id, "errorText": problem}, f"Error: {problem}"
