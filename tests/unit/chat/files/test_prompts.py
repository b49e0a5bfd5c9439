"""The files that a model receives, through each responder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomcast.chat.files.options import key_of, thumbnail_of
from roomcast.chat.files.prompts import MAX_TEXT_BYTES, PromptFiles
from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import ContentHeaders, Prompt, PromptFile, Responder
from roomcast.contract.events import Attachment
from roomcast.files.contents import ObjectContents, bucket_contents
from roomcast.responders.openai import OpenAiResponder
from roomcast.responders.openai_responses import OpenAiResponsesResponder
from roomcast.responders.options import EndpointOptions, OpenAiOptions
from roomcast.responders.ui_stream import UiStreamResponder
from support.backend import START
from support.provider import Answer, running_provider

PNG = b"\x89PNG\r\n\x1a\n"


def message(number: int, *files: Attachment) -> StoredMessage:
    return StoredMessage(f"m{number}", "acme\x1fc", "e", number, "USER", "look", "ann", None, START, attachments=files)


def file(file_id: str, kind: str, size: int) -> Attachment:
    return Attachment(id=file_id, name=f"{file_id}.x", type=kind, size=size)


async def store(contents: ObjectContents, key: str, content: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    await contents.put(key, chunks(), ContentHeaders("text/plain", "attachment"))


async def test_the_newest_files_come_first_and_what_does_not_fit_is_left_out() -> None:
    contents = bucket_contents("memory:///")
    sizes = {"old": 60, "new": 60, "text": 10, "long": MAX_TEXT_BYTES, "pdf": 5}
    for file_id, size in sizes.items():
        await store(contents, key_of("acme\x1fc", file_id), file_id.encode().ljust(size))
    await store(contents, thumbnail_of("acme\x1fc", "old"), b"small")
    pdf, gone = file("pdf", "application/pdf", 5), file("gone", "text/css", 3)
    question = message(2, file("new", "image/png", 60), file("text", "text/plain", 10), pdf)
    earlier = message(1, file("old", "image/png", 60), file("long", "text/csv", MAX_TEXT_BYTES), gone)
    prompt = Prompt(message=question, history=(earlier,))
    found = (await PromptFiles(contents, 100).add_to(prompt)).files
    assert [(one.name, one.type, one.data.strip()) for one in found["m2"]] == [
        ("new.x", "image/png", b"new"),
        ("text.x", "text/plain", b"text"),
    ]
    # The image does not fit any more, but its thumbnail does. The text does not, and one file is deleted.
    assert [(one.name, one.type, one.data) for one in found["m1"]] == [("old.x", "image/webp", b"small")]
    assert await PromptFiles(contents, 0).add_to(prompt) == prompt


OPENAI = [
    {"type": "text", "text": "look"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    {"type": "text", "text": "a.csv:\n1;2\ufffd"},
]
RESPONSES = [
    {"type": "input_text", "text": "look"},
    {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
    {"type": "input_text", "text": "a.csv:\n1;2\ufffd"},
]
UI_STREAM = [
    {"type": "text", "text": "look"},
    {"type": "file", "mediaType": "image/png", "filename": "a.png", "url": "data:image/png;base64,iVBORw0KGgo="},
    {"type": "file", "mediaType": "text/csv", "filename": "a.csv", "url": "data:text/csv;base64,MTsy/w=="},
]


@pytest.mark.parametrize("kind", ["openai", "responses", "ui-stream"])
async def test_a_responder_forwards_the_files_as_parts(kind: str) -> None:
    files = {"m1": (PromptFile("a.png", "image/png", PNG), PromptFile("a.csv", "text/csv", b"1;2\xff"))}
    prompt = Prompt(message=message(2), history=(message(1),), files=files)
    async with running_provider(Answer(status=500)) as provider:
        options = OpenAiOptions(model="m", base_url=provider.url, api_key="k")
        responders: dict[str, Responder] = {
            "openai": OpenAiResponder(options),
            "responses": OpenAiResponsesResponder(options),
            "ui-stream": UiStreamResponder(EndpointOptions(url=provider.url)),
        }
        with pytest.raises(Exception, match="500"):
            _ = [item async for item in responders[kind].respond(prompt)]
        body: Any = provider.requests[0].body
    messages = body["input"] if kind == "responses" else body["messages"]
    if kind == "ui-stream":
        assert [one["parts"] for one in messages] == [UI_STREAM, [{"type": "text", "text": "look"}]]
    else:
        assert [one["content"] for one in messages] == [OPENAI if kind == "openai" else RESPONSES, "look"]
