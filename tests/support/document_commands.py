"""The commands of a document as one shell script that a test can run.

Each fenced ``sh`` block is run, in order, in one shell. A comment before a block says otherwise:

- ``<!-- not run: REASON -->``: left out;
- ``<!-- start -->``: the block is a server, started in the background; the script continues when it is ready;
- ``<!-- start each line -->``: the same for each line of the block;
- ``<!-- stop -->``: first ends the servers that earlier blocks started.

A fenced block with ``title="NAME"`` is written to the file NAME.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.processes import READY

BLOCK: Final = re.compile(
    r"(?P<notes>(?:^<!-- [^\n]* -->\n)*)^```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: Waits for the last line of a server's start-up output; a server that ends earlier fails the script.
PRELUDE: Final = f"""set -euo pipefail
servers=()
start() {{
    setsid bash -c "$1" > "server-${{#servers[@]}}.log" 2>&1 &
    servers+=($!)
}}
ready() {{
    for number in "${{!servers[@]}}"; do
        until grep -q '{READY}' "server-$number.log"; do
            kill -0 "${{servers[number]}}" 2>/dev/null || {{ cat "server-$number.log" >&2; exit 1; }}
            sleep 0.05
        done
    done
}}
stop() {{
    for server in "${{servers[@]}}"; do kill -- "-$server" 2>/dev/null || true; done
    for server in "${{servers[@]}}"; do wait "$server" 2>/dev/null || true; done
    servers=()
    rm -f server-*.log
}}
trap stop EXIT
"""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        notes: The comments before it.
        title: Name of the file that it is; None if it is none.
    """

    language: str
    text: str
    notes: tuple[str, ...]
    title: str | None

    @property
    def reason_not_run(self) -> str | None:
        """Why its commands are not run; None if they are."""
        return next((note.partition(":")[2].strip() for note in self.notes if note.startswith("not run:")), None)


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    return [
        Block(
            found["language"],
            found["text"],
            tuple(re.findall(r"<!-- (.*?) -->", found["notes"])),
            title[1] if (title := re.search(r'title="([^"]+)"', found["info"])) else None,
        )
        for found in BLOCK.finditer(document.read_text())
    ]


def script(document: Path, replacements: Mapping[str, str]) -> str:
    """The shell script of a document, with the addresses of the test in place of those of the document."""
    parts = [PRELUDE]
    for number, block in enumerate(blocks(document)):
        text = block.text
        for old, new in replacements.items():
            text = text.replace(old, new)
        if block.title:
            parts.append(f"cat > {block.title} <<'END_OF_FILE'\n{text}END_OF_FILE\n")
        if block.language != "sh" or block.reason_not_run is not None:
            continue
        parts.append(f"echo '== block {number}' >&2\n")
        if "stop" in block.notes:
            parts.append("stop\n")
        if "start" in block.notes:
            parts.append(f"start '{text.strip()}'\nready\n")
        elif "start each line" in block.notes:
            parts.extend([*(f"start '{line}'\n" for line in text.splitlines()), "ready\n"])
        else:
            parts.append(text)
    return "".join(parts)
