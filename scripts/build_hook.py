"""Hatch runs this before it builds a wheel or an sdist: a package without the chat page is never built."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface):
    """Checks that the page is there. An editable installation does without: `make run` builds its page later."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fail if the page is missing. ``version`` is the kind of the build."""
        del build_data
        if version != "editable" and not Path(self.root, "src/roomcast/api/page/index.html").is_file():
            raise FileNotFoundError("src/roomcast/api/page is missing: build the chat page first, with `make dist`")
