"""Messages and tools of a request as the chat format takes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from danlu.serve.api.body import depth
from danlu.serve.api.completing import within
from danlu.serve.api.errors import ApiError
from danlu.serve.api.limits import Limits
from danlu.serve.api.requests import AssistantMessage, ChatMessage, Content, ToolDefinition, ToolMessage
from danlu.tokenizer.chat import Message, ToolCall


def messages_of(given: Sequence[ChatMessage], limits: Limits) -> list[Message]:
    """The conversation; whether its turns are in order is judged by who renders it."""
    within("messages", "messages", len(given), limits.messages)
    return [_message(each) for each in given]


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
    text = _text(given.content)
    if isinstance(given, ToolMessage):
        return {"role": "tool", "content": text, "tool_call_id": given.tool_call_id}
    if isinstance(given, AssistantMessage):
        return _assistant(given, text)
    return {"role": "user" if given.role == "user" else "system", "content": text}


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
