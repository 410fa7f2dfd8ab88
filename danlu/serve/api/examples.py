"""A request for each route that takes one, for the description of the API, by the name of the model."""

from __future__ import annotations

from typing import Any


def examples(model: str) -> dict[str, dict[str, Any]]:
    """Bodies by path.

    Args:
        model: what the server calls its model.
    """
    question = [{"role": "user", "content": "What is a river? 什么是河？"}]
    return {
        "/v1/chat/completions": {
            "model": model,
            "messages": question,
            "max_tokens": 64,
            "temperature": 0.7,
            "seed": 1,
        },
        "/v1/completions": {"model": model, "prompt": "The river", "max_tokens": 32, "temperature": 0.0},
        "/v1/embeddings": {"model": model, "input": ["a river", "一条河"]},
        "/v1/score": {
            "model": model,
            "prompt": question,
            "completions": ["Water that flows to the sea.", "I do not know."],
        },
        "/tokenize": {"prompt": "a river, 一条河"},
        "/detokenize": {"tokens": [1, 2, 3]},
        "/v1/adapters": {"name": "team"},
    }
