"""The control tokens and the ChatML template: the only place where they are spelled."""

from __future__ import annotations

END_OF_TEXT = "<|endoftext|>"  # ends a document
PAD = "<|pad|>"
IM_START = "<|im_start|>"  # begins a turn, and inside a turn a part: a tool call, or the tools
IM_END = "<|im_end|>"  # ends a turn
IMAGE = "<|image|>"  # where a patch of a picture stands; only tokenizers of models that see have it

CONTROL_TOKENS = (END_OF_TEXT, PAD, IM_START, IM_END)  # ids follow the learned vocabulary in this order

TOOLS = "tools"  # the part of the system's turn that describes the tools

# For programs that read a model directory. Here `chat.ChatFormat` renders, and a test holds the two together.
_TOOLS = (
    f"{{{{- '{IM_START}{TOOLS}' -}}}}"
    "{%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}"
)
_CALLS = (
    "{%- for call in message['tool_calls'] or [] -%}{%- set given = call['function']['arguments'] -%}"
    f"{{{{- '{IM_START}' + call['function']['name'] + '\\n' -}}}}"
    "{{- given if given is string else given | tojson -}}"
    "{%- endfor -%}"
)
_OPENING = f"{{{{- '{IM_START}' + message['role'] + '\\n'"
# One marker a picture, as processors of other models expect; `chat.ChatFormat` puts one for each patch.
_PARTS = (
    "{%- if message['content'] is string -%}{{- message['content'] -}}{%- else -%}"
    "{%- for part in message['content'] -%}"
    f"{{{{- part['text'] if part['type'] == 'text' else '{IMAGE}' -}}}}"
    "{%- endfor -%}{%- endif -%}"
)


def _template(turn: str) -> str:
    """`turn` opens a turn and says what is in it."""
    return (
        "{%- if tools and messages[0]['role'] != 'system' -%}"
        f"{{{{- '{IM_START}system\\n' -}}}}{_TOOLS}{{{{- '{IM_END}\\n' -}}}}"
        "{%- endif -%}"
        f"{{%- for message in messages -%}}{turn}"
        f"{{%- if tools and loop.first and message['role'] == 'system' -%}}{_TOOLS}{{%- endif -%}}"
        f"{_CALLS}{{{{- '{IM_END}' + '\\n' -}}}}"
        "{%- endfor -%}"
        f"{{%- if add_generation_prompt -%}}{{{{- '{IM_START}assistant\\n' -}}}}{{%- endif -%}}"
    )


TEMPLATE = _template(f"{_OPENING} + message['content'] -}}}}")
SEEING_TEMPLATE = _template(f"{_OPENING} -}}}}{_PARTS}")  # content may be parts, as OpenAI has them
