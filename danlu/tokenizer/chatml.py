"""The control tokens and the ChatML template: the only place where they are spelled."""

from __future__ import annotations

END_OF_TEXT = "<|endoftext|>"  # ends a document
PAD = "<|pad|>"
IM_START = "<|im_start|>"  # begins a turn
IM_END = "<|im_end|>"  # ends a turn

CONTROL_TOKENS = (END_OF_TEXT, PAD, IM_START, IM_END)  # ids follow the learned vocabulary in this order

# For programs that read a model directory. Here `chat.ChatFormat` renders, and a test holds the two together.
TEMPLATE = (
    "{%- for message in messages -%}"
    f"{{{{- '{IM_START}' + message['role'] + '\\n' + message['content'] + '{IM_END}' + '\\n' -}}}}"
    "{%- endfor -%}"
    f"{{%- if add_generation_prompt -%}}{{{{- '{IM_START}assistant\\n' -}}}}{{%- endif -%}}"
)
