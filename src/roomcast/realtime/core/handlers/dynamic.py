"""Namespaces whose names follow a rule: which of them exist.

A namespace becomes a child of a dynamic one at its first CONNECT, and until it is removed no rule is asked again.

Layer: realtime.core. Source: socket.io 4.8 ``lib/parent-namespace.ts`` and ``Server._checkNamespace``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Iterator
from re import Pattern
from typing import Any, Final

from roomcast.realtime.core.handlers.registry import NamespaceMatch, Parent, Registry

logger = logging.getLogger(__name__)

#: Empty children that are kept if ``cleanup_empty_child_namespaces`` is off. Clients choose the names.
_MAX_KEPT: Final = 10_000


class DynamicNamespaces:
    """The dynamic namespaces of one server, in the order in which they were added."""

    __slots__ = ("_keep_empty", "_parents", "_registry")

    def __init__(self, registry: Registry, *, keep_empty: bool) -> None:
        self._registry = registry
        self._keep_empty = keep_empty
        self._parents: list[Parent] = []

    def add(self, match: NamespaceMatch) -> Parent:
        """Add a dynamic namespace. One that was added before it has precedence."""
        parent = Parent(match)
        self._parents.append(parent)
        return parent

    def children(self, parent: Parent) -> list[str]:
        """The names of its children."""
        return [name for name, found in self._registry.children.items() if found is parent]

    def attach(self, name: str) -> None:
        """A namespace that was registered by its name: it shares the handlers of the first pattern that matches it."""
        if name not in self._registry.children:
            for parent in self._parents:
                if isinstance(parent.match, Pattern) and parent.match.search(name) is not None:
                    self._registry.children[name] = parent
                    return

    def admit(self, name: str, auth: Any) -> bool | Awaitable[bool]:
        """Whether a namespace is a child, or becomes one now. An awaitable: a function that is asked has to wait.

        Call `release` if the namespace gets no socket.
        """
        if name in self._registry.children:
            return True
        if not self._parents:
            return False
        return self._ask(name, auth, iter(self._parents))

    def _ask(self, name: str, auth: Any, parents: Iterator[Parent]) -> bool | Awaitable[bool]:
        for parent in parents:
            try:
                answer = _answer(parent.match, name, auth)
            except Exception:
                logger.exception("the rule of a dynamic namespace failed for %r", name)
                continue
            if inspect.isawaitable(answer):
                return self._wait(name, auth, parent, answer, parents)
            if answer:
                self._registry.children.setdefault(name, parent)
                return True
        return False

    async def _wait(
        self, name: str, auth: Any, parent: Parent, answer: Awaitable[Any], parents: Iterator[Parent]
    ) -> bool:
        try:
            admitted = await answer
        except Exception:
            logger.exception("the rule of a dynamic namespace failed for %r", name)
            admitted = False
        if admitted or name in self._registry.children:  # it may have been created in the meantime
            self._registry.children.setdefault(name, parent)
            return True
        rest = self._ask(name, auth, parents)
        return rest if isinstance(rest, bool) else await rest

    def release(self, name: str) -> None:
        """The namespace has no socket any more."""
        children = self._registry.children
        if not self._keep_empty or len(children) > _MAX_KEPT:
            children.pop(name, None)


def _answer(match: NamespaceMatch, name: str, auth: Any) -> Any:
    return match.search(name) is not None if isinstance(match, Pattern) else match(name, auth)
