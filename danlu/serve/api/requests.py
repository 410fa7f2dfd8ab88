"""What may be asked, field by field; the description of the API is made from these.

A field that is unknown is refused, for one that is ignored would do nothing without a word. Of OpenAI's
fields those are known that can be honoured, and a few that ask for nothing (`user`, `metadata`, …).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from danlu.tools.protocol import RESERVED

MOST = 2**31 - 1
# Below 2**63 by what a description, whose bounds are floats, needs to say it to the digit.
MOST_SEED = 9_223_372_036_854_775_000


class Strict(BaseModel):
    """No unknown field, no conversion between types, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(
            f"must be none of {', '.join(sorted(RESERVED))}, which head parts of the chat format"
        )
    return name


ToolName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$"),
    AfterValidator(_free),
    Field(json_schema_extra={"not": {"enum": [*sorted(RESERVED)]}}),
]
AdapterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ModelName = Annotated[str, Field(max_length=256, description="one of GET /v1/models")]
TokenId = Annotated[int, Field(ge=0, le=MOST)]
TokenIds = Annotated[list[TokenId], Field(min_length=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
StopString = Annotated[str, Field(min_length=1)]
Inputs = (
    str
    | TokenIds
    | Annotated[list[str], Field(min_length=1)]
    | Annotated[list[TokenIds], Field(min_length=1)]
)
LogitBias = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]
    ],
    Field(json_schema_extra={"additionalProperties": False}, description="by token id"),
]


class TextPart(Strict):
    type: Literal["text"]
    text: str


class ImageUrl(Strict):
    url: Annotated[str, StringConstraints(pattern=r"^data:image/png;base64,")]
    detail: Literal["auto"] | None = None


class ImagePart(Strict):
    type: Literal["image_url"]
    image_url: ImageUrl


Content = str | Annotated[list[TextPart], Field(min_length=1)]
Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]
SeenContent = str | Annotated[list[Part], Field(min_length=1)]


class SystemMessage(Strict):
    role: Literal["system", "developer"]
    content: Content
    name: str | None = None


class UserMessage(Strict):
    role: Literal["user"]
    content: SeenContent
    name: str | None = None


class CalledFunction(Strict):
    name: ToolName
    arguments: str


class CalledTool(Strict):
    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(Strict):
    """Also what this server answered, put back into the conversation as it is."""

    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: list[CalledTool] | None = None
    name: str | None = None
    refusal: None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None
    audio: None = None
    function_call: None = None


class ToolMessage(Strict):
    role: Literal["tool"]
    content: Content
    tool_call_id: str
    name: str | None = None


ChatMessage = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]
Messages = Annotated[list[ChatMessage], Field(min_length=1)]


class Function(Strict):
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: Literal[False] | None = None


class ToolDefinition(Strict):
    type: Literal["function"]
    function: Function


class NamedFunction(Strict):
    name: ToolName


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


class PlainText(Strict):
    type: Literal["text"]


class JsonObject(Strict):
    type: Literal["json_object"]


class NamedSchema(Strict):
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    tree: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class JsonSchema(Strict):
    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[PlainText | JsonObject | JsonSchema, Field(discriminator="type")]


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class Sampled(Strict):
    """What chat and completions have in common. A null is as good as leaving a field out."""

    model: ModelName
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Field(ge=0, le=MOST, description="0 is no limit")] | None = None
    min_p: Probability | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    seed: Annotated[int, Field(ge=-MOST_SEED, le=MOST_SEED)] | None = None
    stop: StopString | Annotated[list[StopString], Field(max_length=64)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    @property
    def stops(self) -> list[str]:
        """The stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class ChatRequest(Sampled):
    messages: Messages
    max_tokens: Annotated[int, Field(ge=1, le=MOST)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MOST)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    truncation: Annotated[
        Literal["auto", "disabled"], Field(description="auto: the oldest exchanges go where not all fit")
    ] = "auto"
    pinned: Annotated[
        list[Annotated[int, Field(ge=0, le=MOST)]],
        Field(max_length=1000, description="places of messages that truncation leaves in, from 0"),
    ] = []
    context: Annotated[
        Literal["drop", "summarise"], Field(description="summarise: the model sums up what truncation drops")
    ] = "drop"
    server_tools: Annotated[
        list[ToolName],
        Field(max_length=128, description="tools of this server that it runs itself before it answers"),
    ] = []
    metadata: dict[str, str] | None = None
    store: Literal[False] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: Literal["auto", "default"] | None = None


class CompletionRequest(Sampled):
    prompt: Annotated[
        Inputs, Field(description="text, or ids, which are taken as they are; or a list of either")
    ]
    max_tokens: Annotated[int, Field(ge=0, le=MOST)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=128)] | None = None
    suffix: None = None
    add_special_tokens: Annotated[
        bool, Field(description="begin a prompt of text as a document began in training")
    ] = True
    to: Annotated[
        str | None,
        Field(
            max_length=32,
            description="language that a model which translates is to use; by default one the text is not in",
        ),
    ] = None


class TokenizeText(Strict):
    prompt: str
    model: ModelName | None = None
    add_special_tokens: bool = True
    return_token_strs: bool | None = None


class TokenizeChat(Strict):
    messages: Messages
    model: ModelName | None = None
    tools: list[ToolDefinition] | None = None
    add_generation_prompt: bool = True
    return_token_strs: bool | None = None


class DetokenizeRequest(Strict):
    tokens: list[TokenId]
    model: ModelName | None = None


class EmbeddingRequest(Strict):
    model: ModelName
    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=MOST)] | None = None
    user: str | None = None


class AdapterRequest(Strict):
    """An adapter to load, by the name that requests will ask for."""

    name: AdapterName
    directory: Annotated[
        AdapterName | None, Field(description="in the server's folder of adapters; by default as the name")
    ] = None


class ScoreRequest(Strict):
    """A prompt and completions of it, as in a record of people's rankings."""

    model: ModelName
    prompt: Messages
    completions: Annotated[list[str], Field(min_length=1)]
