"""What is answered, field by field, in OpenAI's shapes; what is ours besides stands at a record's end."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from danlu.serve.api.reply import FinishReason


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "danlu"
    max_model_len: int
    translates: list[str] | None = None  # directions such as "en-zh"; of a model that does nothing else


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class AdapterList(BaseModel):
    object: Literal["list"] = "list"
    loaded: list[str]
    available: list[str]  # directories that hold one


class AdapterGone(BaseModel):
    id: str
    object: Literal["adapter"] = "adapter"
    deleted: Literal[True] = True


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CalledFunction(BaseModel):
    name: str
    arguments: str


class ToolCall(BaseModel):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[ToolCall] | None = None


class TopLogprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    content: list[TokenLogprob]
    refusal: None = None


class ChatChoice(BaseModel):
    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class Context(BaseModel):
    """What the model saw of the conversation."""

    left_out: list[int]  # places of the messages that it did not see, from 0
    summary: str | None = None  # what it saw in their stead


class ToolStep(BaseModel):
    """A call that the server carried out before it answered."""

    name: str
    arguments: str
    result: str
    ok: bool
    seconds: float


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    context: Context
    trace: list[ToolStep] = []  # calls of the server's own tools


class CompletionLogprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]  # null for the first of all, before which nothing stands
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length"]


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class Tokens(BaseModel):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Detokenized(BaseModel):
    prompt: str


class TokenizerInfo(BaseModel):
    tokenizer_class: str
    vocab_size: int
    max_model_len: int
    bos_token: str
    eos_token: str
    pad_token: str
    chat_template: None = None


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class InputUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: InputUsage


class Score(BaseModel):
    object: Literal["score"] = "score"
    index: int
    score: float


class ScoreList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Score]
    model: str
    usage: InputUsage


class Health(BaseModel):
    status: Literal["ok", "ready", "starting", "draining", "failed"]
