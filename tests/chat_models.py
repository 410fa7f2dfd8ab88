"""Tokenizers and chat templates of other people's chat models, in miniature.

The templates are those that are published with the models, without their branches for tools.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers

TEXTS = [
    "system user assistant 你好，世界！ Hello there, 12345 loaves of bread. Cutting Knowledge Date: 26\n\n"
] * 4
LLAMA_3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPLIT = LLAMA_3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
WHOLE = "ĠUnheardOf"  # a token that no merge makes: Llama 3 takes a whole word if the vocabulary has it

LLAMA_3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    "+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA_3_2 = r"""{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Cutting Knowledge Date: December 2023\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
LLAMA_3_1 = LLAMA_3_2.replace(
    """    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
""",
    """    {%- set date_string = "26 Jul 2024" %}
""",
)
QWEN_2_5 = r"""{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
{%- else %}
    {{- '<|im_start|>system\n__DEFAULT__<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role in ("user", "assistant") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
""".replace("__DEFAULT__", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.")
QWEN_3 = r"""{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
"""
MISTRAL_TEKKEN = r"""{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST]" + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST]" + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- message["content"] + eos_token}}
    {%- endif %}
{%- endfor %}
"""
MISTRAL_V3 = MISTRAL_TEKKEN.replace('"[INST]"', '"[INST] "').replace(
    '{{- message["content"] + eos_token}}', '{{- " " + message["content"]|trim + eos_token}}'
)
MISTRAL_V1 = r"""{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message['role'] == 'user' %}
        {%- if loop.first and system_message is defined %}
            {{- ' [INST] ' + system_message + '\n\n' + message['content'] + ' [/INST]' }}
        {%- else %}
            {{- ' [INST] ' + message['content'] + ' [/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token}}
    {%- endif %}
{%- endfor %}
"""
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)

CONTROL = {
    "llama": [
        *("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|start_header_id|>"),
        *("<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"),
    ],
    "qwen": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "mistral": ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"],
    "sentencepiece": ["<unk>", "<s>", "</s>"],
    "sentencepiece v3": ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"],
}
GGUF_NAMES = {"llama": "llama-bpe", "qwen": "qwen2"}
VISIBLE = {"qwen": ["<think>", "</think>"]}  # added, and not special
ENDS = {
    "llama": ("<|begin_of_text|>", "<|eot_id|>"),
    "qwen": (None, "<|im_end|>"),
    "mistral": ("<s>", "</s>"),
    "sentencepiece": ("<s>", "</s>"),
    "sentencepiece v3": ("<s>", "</s>"),
}


def write_chat_model(kind: str, template: str, folder: Path) -> tokenizers.Tokenizer:
    """The tokenizer's files of a model of a kind, which is one of CONTROL."""
    folder.mkdir(exist_ok=True)
    theirs = _pieces(kind) if kind.startswith("sentencepiece") else _byte_level(kind)
    begin, end = ENDS[kind]
    if begin is not None:  # which the library then puts before every text that is encoded
        token = (begin, theirs.token_to_id(begin))
        theirs.post_processor = processors.TemplateProcessing(f"{begin} $A", special_tokens=[token])
    theirs.save(str(folder / "tokenizer.json"))
    config = {"bos_token": begin, "eos_token": end, "chat_template": template}
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return theirs


def _byte_level(kind: str) -> tokenizers.Tokenizer:
    tree: dict[str, Any] = json.loads(_trained(QWEN_SPLIT if kind == "qwen" else LLAMA_3_SPLIT).to_str())
    if kind == "qwen":
        tree["normalizer"] = {"type": "NFC"}
    else:
        tree["model"]["ignore_merges"] = True
        tree["model"]["vocab"][WHOLE] = len(tree["model"]["vocab"])
    theirs = tokenizers.Tokenizer.from_str(json.dumps(tree))
    theirs.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in CONTROL[kind]])
    theirs.add_tokens([AddedToken(text, special=False, normalized=False) for text in VISIBLE.get(kind, [])])
    return theirs


def _pieces(kind: str) -> tokenizers.Tokenizer:
    """As Llama 2 is published, with a blank before every text; Mistral's third has one before the first."""
    theirs = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    blank = decoders.Replace("▁", " ")
    theirs.decoder = decoders.Sequence(
        [blank, decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    every_byte = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[*CONTROL[kind], *every_byte], show_progress=False
    )
    theirs.train_from_iterator([f"▁{word}" for text in TEXTS for word in text.split()], trainer)
    tree = json.loads(theirs.to_str())
    added = tree["added_tokens"]
    tree["added_tokens"] = [
        {**each, "normalized": False} for each in added if each["content"] in CONTROL[kind]
    ]
    if kind == "sentencepiece":
        steps = [{"type": "Prepend", "prepend": "▁"}]
        steps.append({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
        tree["normalizer"] = {"type": "Sequence", "normalizers": steps}
    else:
        tree["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}
        tree["pre_tokenizer"]["split"] = False
    return tokenizers.Tokenizer.from_str(json.dumps(tree))


def _trained(split: str) -> tokenizers.Tokenizer:
    theirs = tokenizers.Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(Regex(split), behavior="isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    theirs.pre_tokenizer = pre_tokenizers.Sequence([cut, to_bytes])
    theirs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator(TEXTS, trainer)
    return theirs
