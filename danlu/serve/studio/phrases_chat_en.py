"""Making tasks, tools, personas and comparisons of several turns, in English."""

from __future__ import annotations

CHATTING = {
    # tools
    "sampling.tools": "The model may call",
    "step.asked": "Asked",
    "step.given": "Result",
    "step.waits": "No result yet",
    "step.text": "What was said to the tool, or by it",
}
