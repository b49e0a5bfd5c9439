"""The links of the OpenAPI document: which requests take a value of a response as a parameter of their path.

Layer: api. Source: OpenAPI 3.1.1, "Link Object" and "Runtime Expressions".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_PARAMETER: Final = re.compile(r"{(\w+)}")
_ID: Final = "$response.body#/id"
_SAME_CHAT: Final = "$request.path.chat_id"
#: By operation: the status, and the values that its request and response have for parameters.
_VALUES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "create_chat": ("201", {"chat_id": _ID}),
    "open_direct_chat": ("200", {"chat_id": _ID}),
    "add_member": ("204", {"chat_id": _SAME_CHAT, "user_id": "$request.path.user_id"}),
    "send_message": (
        "201",
        {"chat_id": "$response.body#/chatId", "message_id": _ID, "turn_id": "$response.body#/turn/id"},
    ),
    "upload_file": ("201", {"chat_id": _SAME_CHAT, "file_id": _ID}),
    "create_invite": ("201", {"chat_id": _SAME_CHAT, "invite_id": _ID, "token": "$response.body#/token"}),
    "create_webhook": ("201", {"webhook_id": _ID}),
    "erase_user": ("202", {"erasure_id": _ID}),
}


def add_links(document: dict[str, Any]) -> None:
    """Add the links to an OpenAPI document.

    Args:
        document: Each operation has an ``operationId``; only those of `_VALUES` get links.
    """
    targets = {
        operation["operationId"]: set(_PARAMETER.findall(path))
        for path, operations in document["paths"].items()
        for operation in operations.values()
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            source = operation["operationId"]
            status, values = _VALUES.get(source, ("", {}))
            new = {name for name, value in values.items() if value != _SAME_CHAT}
            links = {
                target: {"operationId": target, "parameters": {name: values[name] for name in sorted(needed)}}
                for target, needed in targets.items()
                if target != source and needed & new and needed <= values.keys()
            }
            if links:
                operation["responses"][status]["links"] = links
