"""Messages and tools of a request as the chat format takes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from danlu.serve.api.body import depth
from danlu.serve.api.completing import within
from danlu.serve.api.errors import ApiError
from danlu.serve.api.limits import Limits
from danlu.serve.api.requests import (
    AssistantMessage,
    ChatMessage,
    Content,
    ImagePart,
    ToolDefinition,
    ToolMessage,
    UserMessage,
)
from danlu.tokenizer.chat import Image, Message, ToolCall, images_of


def messages_of(given: Sequence[ChatMessage], limits: Limits) -> list[Message]:
    """The conversation; whether its turns are in order is judged by who renders it."""
    within("messages", "messages", len(given), limits.messages)
    messages = [_message(each) for each in given]
    within("messages", "pictures", len(images_of(messages)), limits.images)
    return messages


def tools_of(given: Sequence[ToolDefinition] | None, limits: Limits) -> list[dict[str, Any]]:
    """Descriptions of tools, in OpenAI's shape."""
    tools = given or []
    within("tools", "tools", len(tools), limits.tools)
    names = [each.function.name for each in tools]
    if len(set(names)) < len(names):
        raise ApiError(400, "two tools have the same name", param="tools")
    for each in tools:
        if each.function.parameters is not None:
            check_schema(each.function.parameters, limits, "tools")
    return [each.model_dump(exclude_none=True) for each in tools]


def check_schema(schema: dict[str, Any], limits: Limits, param: str) -> None:
    """Refuse a JSON schema that is too large or too deep to be worked on."""
    within(param, "levels in a schema", depth(schema), limits.schema_depth)
    within(param, "bytes in a schema", len(json.dumps(schema)), limits.schema_bytes)


def _message(given: ChatMessage) -> Message:
    if isinstance(given, UserMessage):
        return _user(given)
    text = _text(given.content)
    if isinstance(given, ToolMessage):
        return {"role": "tool", "content": text, "tool_call_id": given.tool_call_id}
    if isinstance(given, AssistantMessage):
        return _assistant(given, text)
    return {"role": "system", "content": text}


def _user(given: UserMessage) -> Message:
    """A turn of text and pictures; each picture has its place among the characters."""
    if isinstance(given.content, str):
        return {"role": "user", "content": given.content}
    text, images = "", list[Image]()
    for part in given.content:
        if isinstance(part, ImagePart):
            images.append({"at": len(text), "url": part.image_url.url})
        else:
            text += part.text
    message: Message = {"role": "user", "content": text}
    if images:
        message["images"] = images
    return message


def _assistant(given: AssistantMessage, text: str) -> Message:
    message: Message = {"role": "assistant", "content": text}
    calls: list[ToolCall] = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in given.tool_calls or []
    ]
    if calls:
        message["tool_calls"] = calls
    return message


def _text(content: Content | None) -> str:
    if content is None:
        return ""
    return content if isinstance(content, str) else "".join(part.text for part in content)
