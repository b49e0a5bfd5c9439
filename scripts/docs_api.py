"""The reference of a Python package as Markdown, from its signatures and docstrings (Google style).

Used by `docs_site`. Everything in the package's ``__all__`` has a section, each public member one of its own.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final

_LINE_CHARS: Final = 100
_SECTIONS: Final = ("Args", "Attributes", "Returns", "Yields", "Raises")
_SECTION: Final = re.compile(rf"^({'|'.join(_SECTIONS)}):\n((?:    .*\n|\n)*)", re.MULTILINE)
_ITEM: Final = re.compile(r"^    (\*{0,2}[\w.` ,]+?): (.*(?:\n {8}.*)*)", re.MULTILINE)
_EXAMPLE: Final = re.compile(r"::\n\n((?:    .*\n|\n)+)")


def reference(package: ModuleType) -> str:
    """The sections of all public names of a package, classes before functions and exceptions last."""
    found = [(name, getattr(package, name)) for name in package.__all__]
    return "\n\n".join(_entry(name, value) for name, value in sorted(found, key=_order))


def _order(entry: tuple[str, Any]) -> tuple[int, str]:
    name, value = entry
    if not inspect.isclass(value):
        return (1 if callable(value) else 3), name
    if issubclass(value, BaseException):
        return 2, name
    return 0 if name != "Server" else -1, name


def _entry(name: str, value: Any) -> str:
    if not (inspect.isclass(value) or callable(value)):
        return f"## {name}\n\nThe constant `{value!r}`." if isinstance(value, str) else f"## {name}\n\nA constant."
    fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
    parts = [
        f"## {name}",
        _signature(name, value),
        _text(inspect.getdoc(value) or "", {field.name: _field(field) for field in fields}),
    ]
    if inspect.isclass(value):
        init = value.__dict__.get("__init__")
        if init is not None and not dataclasses.is_dataclass(value):
            arguments = _SECTION.search((inspect.getdoc(init) or "") + "\n")
            parts.append(_text(arguments[0]) if arguments else "")
        parts += [_member(name, attribute, member) for attribute, member in _members(value)]
    return "\n\n".join(part for part in parts if part)


def _field(field: dataclasses.Field[Any]) -> str:
    text = f"{field.name}: {_annotation(field.type)}"
    return text if field.default is dataclasses.MISSING else f"{text} = {field.default!r}"


def _members(value: type) -> Iterator[tuple[str, Any]]:
    """The documented public methods and properties, those of base classes of the same project included."""
    if issubclass(value, enum.Enum):
        return
    project = value.__module__.partition(".")[0]
    seen = set()
    for owner in value.__mro__:
        if owner.__module__.partition(".")[0] != project:
            continue
        for attribute, member in vars(owner).items():
            if attribute.startswith("_") or attribute in seen:
                continue
            seen.add(attribute)
            if inspect.isroutine(member) or isinstance(member, property | classmethod | staticmethod):
                yield attribute, member


def _member(owner: str, name: str, member: Any) -> str:
    documented = inspect.getdoc(member) or ""
    if isinstance(member, property):
        returned = getattr(member.fget, "__annotations__", {}).get("return")
        head = "" if returned is None else f"```python\n{name}: {_annotation(returned)}\n```"
    else:
        head = _signature(name, member)
    return "\n\n".join(part for part in (f"### {owner}.{name}", head, _text(documented)) if part)


def _signature(name: str, value: Any) -> str:
    function: Callable[..., Any] = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    if inspect.isclass(value) and (dataclasses.is_dataclass(value) or issubclass(value, BaseException | enum.Enum)):
        return ""  # the fields of a dataclass are its attributes
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    parameters = [_parameter(each) for each in signature.parameters.values() if each.name not in {"self", "cls"}]
    kinds = [each.kind for each in signature.parameters.values() if each.name not in {"self", "cls"}]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parameters.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returned = signature.return_annotation
    tail = "" if inspect.isclass(value) or returned is inspect.Signature.empty else f" -> {_annotation(returned)}"
    prefix = "async " if inspect.iscoroutinefunction(function) else ""
    line = f"{prefix}{name}({', '.join(parameters)}){tail}"
    if len(line) > _LINE_CHARS:
        line = f"{prefix}{name}(\n" + "".join(f"    {each},\n" for each in parameters) + f"){tail}"
    return f"```python\n{line}\n```"


def _parameter(parameter: inspect.Parameter) -> str:
    star = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = star + parameter.name
    if parameter.annotation is not inspect.Parameter.empty:
        text += f": {_annotation(parameter.annotation)}"
    if parameter.default is not inspect.Parameter.empty:
        text += f" = {parameter.default!r}"
    return text


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _text(docstring: str, names: Mapping[str, str] | None = None) -> str:
    """A docstring as Markdown: prose, examples, and a list for each section; ``names``: how to show some names."""
    lists = [(match[1], match[2]) for match in _SECTION.finditer(docstring + "\n")]
    prose = _SECTION.sub("", docstring + "\n").strip()
    prose = _EXAMPLE.sub(lambda match: f":\n\n```python\n{inspect.cleandoc(match[1])}\n```\n\n", prose + "\n")
    parts = [_code(prose.strip())]
    shown = names or {}
    for title, body in lists:
        items = [(match[1].strip(), " ".join(match[2].split())) for match in _ITEM.finditer(body)]
        lines = [f"- `{shown.get(name, name)}`: {_code(text)}" for name, text in items] or [
            f"- {_code(' '.join(body.split()))}"
        ]
        parts.append(f"**{title}**\n\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part)


def _code(text: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", text)
