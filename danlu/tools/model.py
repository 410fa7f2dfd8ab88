"""Another model as a tool: whatever answers in the shape of OpenAI's chat completions."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

from danlu.tools.error import ToolError
from danlu.tools.http import Host, HttpLimits, request
from danlu.tools.protocol import Tool, ToolDefinitionError, tool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model behind an address."""

    url: str  # up to /v1, such as http://localhost:8000/v1
    model: str  # its name there
    about: str = "Ask another assistant a question and get its answer."  # when the model should call it
    system: str | None = None  # system message before each question
    max_tokens: int = 512
    secret: str | None = None  # name of the environment variable that holds the key
    limits: HttpLimits = field(default_factory=lambda: HttpLimits(timeout_s=60.0))


def model_tool(name: str, config: ModelConfig) -> Tool:
    """A tool that puts one question to the model; nothing of the conversation goes along."""
    host = Host.of(config.url)
    if config.secret is not None and host.scheme == "http" and not host.is_private:
        raise ToolDefinitionError(f"{name}: a key would travel to {host.name} unencrypted; use https://")

    def ask(question: str) -> str:
        """Ask another assistant."""
        turns = [{"role": "system", "content": config.system}] if config.system else []
        turns.append({"role": "user", "content": question})
        asked = {"model": config.model, "messages": turns, "max_tokens": config.max_tokens}
        key = _key(config)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        path = "/chat/completions"
        answer = request(host, "POST", path, headers=headers, body=asked, limits=config.limits, hidden=key)
        return _content(host, answer)

    made = tool(ask, name=name)
    return replace(made, description=config.about, wall_s=config.limits.timeout_s + 1)


def _key(config: ModelConfig) -> str:
    if config.secret is None:
        return ""
    value = os.environ.get(config.secret, "")
    if not value.isprintable() or not value:
        raise ToolError(f"the environment variable {config.secret} holds no key")
    return value


def _content(host: Host, answer: Any) -> str:
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        content = None
    if not isinstance(content, str):
        raise ToolError(f"{host.name} answers with something that is no chat completion")
    return content
