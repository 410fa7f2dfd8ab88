"""Model directories in the Hugging Face layout, read and written; `layouts/` holds each architecture's names.

What is written here loads in `transformers` as it lies. What is read is checked first: the architectures are
a closed list, `auto_map` is ignored, and no tensor may be missing, unknown or of another shape. Weights are
read and written a tensor at a time, so that a model is never held twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from danlu.config import ConfigError
from danlu.model.adapted import (
    AdaptedLinear,
    check_mergeable,
    dense_bias,
    dense_weight,
    is_brought,
    places,
)
from danlu.model.classifiers import Classifier
from danlu.model.config import ModelConfig, PatchConfig
from danlu.model.encoder_heads import MaskedLanguageModel
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.layouts import bert, gpt, llama, marian
from danlu.model.layouts.layout import Head, Layout, Place, answers_tree, join, joined_shape
from danlu.model.layouts.settings import Settings
from danlu.model.quantised_weight import QuantisedWeight
from danlu.model.quantize import (
    KEY as QUANTISATION_KEY,
)
from danlu.model.quantize import (
    Quantisation,
    StoredQuantised,
    dense,
    finish,
    pair_up,
    quantised_tensors,
    read_quantisation,
)
from danlu.model.raters import RaterModel
from danlu.model.tensor_file import ModelFileError, Stored, ToWrite
from danlu.model.translation import TranslationModel
from danlu.model.weights import (
    MAX_SHARD_BYTES,
    WEIGHT_DTYPES,
    check_tensors,
    read_json,
    scan_tensors,
    write_json,
    write_shards,
)

AnyModel = LanguageModel | ScoreModel | MaskedLanguageModel | Classifier | TranslationModel
Kind = TypeVar("Kind", LanguageModel, ScoreModel, MaskedLanguageModel, Classifier, TranslationModel)
Dtype = Literal["float32", "bfloat16", "float16"]
# Ours, in config.json: what a score model subtracts from its head's output, what it multiplies the rest by,
# and how raters' answers arise from the scores.
SCORE_KEYS = SHIFT_KEY, GAIN_KEY, RATERS_KEY = "reward_shift", "reward_gain", "reward_raters"
PICTURES_KEY = "danlu_pictures"  # ours too: sizes of the encoder of pictures, and the token that marks them
LAYOUTS = (
    llama.LLAMA,
    llama.MISTRAL,
    llama.QWEN2,
    llama.QWEN3,
    llama.QWEN3_MOE,
    gpt.GPT1,
    gpt.GPT2,
    gpt.GPT_NEO,
    bert.BERT,
    marian.MARIAN,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIds:
    """The tokenizer's control tokens that a model directory mentions."""

    pad: int | None = None  # transformers' classifiers read the score at the last token that is not this one
    bos: int | None = None
    stop: tuple[int, ...] = ()  # generation ends at any of these
    start: int | None = None  # what a translation begins after


def save_model(
    model: AnyModel,
    path: Path,
    *,
    dtype: Dtype = "float32",
    token_ids: TokenIds | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    quantisation: Quantisation | None = None,
) -> None:
    """Write the weights, generation_config.json and config.json; tokenizer files are not touched.

    What an adapter adds becomes part of the weights that are written; one of which that cannot be, such as
    virtual tokens, is an error while it counts. A quantised model is written as the numbers that its codes
    stand for, unless `quantisation` says how to quantise what is written; other programs cannot read that.
    """
    for parts in places(model).values():
        for part, _ in parts.counting():
            check_mergeable(part)
    tokens = _token_tree(token_ids or TokenIds())
    layout, head = _written_as(model)
    tree = _config_tree(model, layout, head, dtype) | tokens
    tensors = _to_write(model, layout, getattr(torch, dtype))
    if quantisation is not None:
        if not isinstance(model, LanguageModel | ScoreModel):
            raise ConfigError(f"a {type(model).__name__} cannot be quantised; a decoder's model can")
        tree[QUANTISATION_KEY] = quantisation.to_tree()
        tensors = quantised_tensors(dict(weights_of(model)), quantisation, getattr(torch, dtype))
    path.mkdir(parents=True, exist_ok=True)
    write_shards(path, tensors, max_shard_bytes)
    if isinstance(model, LanguageModel | TranslationModel):
        write_json(path / "generation_config.json", tokens)
    write_json(path / "config.json", tree)


@dataclass(frozen=True, slots=True)
class Opened:
    """A model directory, checked whole, of which no weight has been read."""

    path: Path
    settings: Settings
    layout: Layout
    architecture: str  # the name of their class
    model: AnyModel  # without memory: on torch's meta device
    tensors: Mapping[str, Stored | StoredQuantised]  # by our names where quantised, else by theirs
    quantisation: Quantisation | None = None


def open_model(path: Path) -> Opened:
    """Look at a model directory, whatever it holds."""
    settings, layout, head, config = _described(path)
    quantisation = read_quantisation(settings)
    stored = scan_tensors(path)
    with torch.device("meta"), _Undrawn():  # no memory: every weight is about to be replaced
        model = head.build(config, settings, stored.keys())
    assert isinstance(model, AnyModel)
    if quantisation is not None:
        tensors = _checked_quantised(model, path, stored)
        return Opened(path, settings, layout, head.name, model, tensors, quantisation)
    return Opened(path, settings, layout, head.name, model, _checked(model, layout, path, stored))


class _Undrawn(TorchFunctionMode):
    """Within, no random number is drawn: on torch's meta device that takes 70 MB of imports for nothing."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("normal_", "uniform_"):
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **kwargs or {})


def pictures_tree(config: ModelConfig) -> dict[str, Any]:
    """What config.json says of an encoder of pictures; nothing where there is none."""
    if config.pictures is None:
        return {}
    return {PICTURES_KEY: {"marker_id": config.marker_id, **asdict(config.pictures)}}


def _with_pictures(config: ModelConfig, settings: Settings) -> ModelConfig:
    """The configuration with the encoder of pictures that `pictures_tree` told of."""
    tree: Any = settings.get(PICTURES_KEY)
    if tree is None:
        return config
    names = [field.name for field in fields(PatchConfig)]
    if not isinstance(tree, Mapping) or set(tree) != {"marker_id", *names}:
        raise settings.wrong(PICTURES_KEY, tree, f"a table of marker_id, {', '.join(names)}")
    sizes = Settings(settings.where, tree)
    marker_id: Any = tree["marker_id"]
    if type(marker_id) is not int:
        raise settings.wrong(f"{PICTURES_KEY}.marker_id", marker_id, "a whole number")
    pictures = PatchConfig(**{name: sizes.integer(name) for name in names})
    return replace(config, pictures=pictures, marker_id=marker_id)


def read_config(path: Path) -> ModelConfig:
    """What a model directory says of its model; no weight is looked at."""
    return _described(path)[-1]


def _described(path: Path) -> tuple[Settings, Layout, Head, ModelConfig]:
    settings = Settings(path / "config.json", read_json(path / "config.json"))
    layout, head = _recognise(settings)
    try:
        return settings, layout, head, _with_pictures(layout.read(settings), settings)
    except ModelFileError:
        raise
    except ConfigError as error:
        raise ModelFileError(f"{settings.where}: {error}") from error


def read_model(path: Path, *, dtype: Dtype | Literal["stored"] = "float32") -> AnyModel:
    """Read a model directory, whatever it holds; `stored` leaves each weight in the format it lies in."""
    opened = open_model(path)
    model, wanted = opened.model, None if dtype == "stored" else getattr(torch, dtype)
    if opened.quantisation is None:
        _fill(model, opened.layout, opened.tensors, wanted)
    else:
        _fill_quantised(model, opened.tensors, wanted)
    if isinstance(model, ScoreModel):
        model.shift, model.gain = torch.zeros(()), torch.ones(())
        apply_score_tree(opened.settings, model)
    return model


def score_tree(model: ScoreModel) -> dict[str, Any]:
    """What a score model has beside its weights, as plain values."""
    raters = {} if model.raters is None else {RATERS_KEY: model.raters.to_tree()}
    return {SHIFT_KEY: float(model.shift), GAIN_KEY: float(model.gain), **raters}


def apply_score_tree(told: Settings, model: ScoreModel) -> None:
    """Give a model what `score_tree` told of another."""
    model.shift.fill_(told.number(SHIFT_KEY, 0.0))
    model.gain.fill_(told.number(GAIN_KEY, 1.0))
    if model.gain <= 0:
        raise told.wrong(GAIN_KEY, float(model.gain), "above 0")
    raters = told.get(RATERS_KEY)
    if raters is not None and not isinstance(raters, Mapping):
        raise told.wrong(RATERS_KEY, raters, "a table")
    model.raters = None if raters is None else RaterModel.from_tree(raters)


def load_model(path: Path, *, vocab_size: int | None = None) -> LanguageModel | ScoreModel:
    """Read the directory of a decoder, whichever head it has, for a tokenizer of `vocab_size` if given."""
    model = read_model(path)
    if not isinstance(model, LanguageModel | ScoreModel):
        raise ModelFileError(f"{path} holds a {type(model).__name__}; a decoder's model is needed here")
    _check_vocabulary(path, model, vocab_size)
    return model


def load_language_model(path: Path, *, vocab_size: int | None = None) -> LanguageModel:
    """Read a directory that must hold a language model, for a tokenizer of `vocab_size` if given."""
    return _expect(LanguageModel, path, vocab_size)


def load_score_model(path: Path, *, vocab_size: int | None = None) -> ScoreModel:
    """Read a directory that must hold a score model, for a tokenizer of `vocab_size` if given."""
    return _expect(ScoreModel, path, vocab_size)


def load_masked_language_model(path: Path, *, vocab_size: int | None = None) -> MaskedLanguageModel:
    """Read a directory that must hold a masked language model, for a tokenizer of `vocab_size` if given."""
    return _expect(MaskedLanguageModel, path, vocab_size)


def load_translation_model(path: Path, *, vocab_size: int | None = None) -> TranslationModel:
    """Read a directory that must hold a translation model, for a tokenizer of `vocab_size` if given."""
    return _expect(TranslationModel, path, vocab_size)


def load_classifier(path: Path, *, vocab_size: int | None = None) -> Classifier:
    """Read a directory that must hold a classifier, for a tokenizer of `vocab_size` if given."""
    return _expect(Classifier, path, vocab_size)


def layout_of(config: ModelConfig) -> Layout:
    """The layout in which other programs read such a model."""
    found = next((layout for layout in LAYOUTS if layout.suits(config)), None)
    if found is None:
        raise ModelFileError(
            f"no Hugging Face layout that we write has these choices together: {config}; "
            "model/presets.py has families that have one"
        )
    return found


def place_of(ours: str, config: ModelConfig) -> Place:
    """Where a parameter or a layer of ours lies in the layout of others."""
    return layout_of(config).place(ours)


def place_in(model: AnyModel, ours: str) -> Place:
    """As `place_of`, for what stands on the backbone too: its name is that in the class of others."""
    return _written_as(model)[0].place(ours)


def _expect(kind: type[Kind], path: Path, vocab_size: int | None) -> Kind:
    model = read_model(path)
    if not isinstance(model, kind):
        raise ModelFileError(f"{path} holds a {type(model).__name__}; a {kind.__name__} is needed here")
    _check_vocabulary(path, model, vocab_size)
    return model


def _check_vocabulary(path: Path, model: AnyModel, vocab_size: int | None) -> None:
    if vocab_size is not None and model.config.vocab_size != vocab_size:
        raise ModelFileError(
            f"{path}: the model knows {model.config.vocab_size} tokens and the tokenizer {vocab_size}; "
            "use the tokenizer that the model was trained with"
        )


def _recognise(settings: Settings) -> tuple[Layout, Head]:
    known = {head.name: (layout, head) for layout in LAYOUTS for head in layout.heads}
    named = settings.get("architectures")
    name = named[0] if isinstance(named, list) and len(named) == 1 else named
    if not isinstance(name, str) or name not in known:
        code = settings.get("auto_map")
        own = f"; its auto_map names code of its own, which is never run: {code!r}" if code else ""
        raise ModelFileError(
            f"{settings.where}: architecture {name!r} is not supported{own}; these are: {', '.join(known)}"
        )
    layout, head = known[name]
    return layout.under(head), head


def _checked(model: nn.Module, layout: Layout, path: Path, stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """The tensors under their present names; they must be just those that the model needs."""
    shapes = {name: tensor.shape for name, tensor in layout.tensors_of(model).items()}
    wanted = {
        name: joined_shape([place for _, place in members], [shapes[ours] for ours, _ in members])
        for name, members in _by_tensor(layout, shapes)
    }
    found = {
        layout.name_now(name, wanted): each
        for name, each in stored.items()
        if not re.search(layout.unread, name)
    }
    if "lm_head.weight" not in wanted:
        found.pop(
            "lm_head.weight", None
        )  # some writers keep the tied copy, or an old head beside the new one
    check_tensors(path, found, wanted)
    return found


def _checked_quantised(
    model: nn.Module, path: Path, stored: Mapping[str, Stored]
) -> dict[str, Stored | StoredQuantised]:
    """As `_checked`, of a quantised model, whose weights lie under our own names."""
    found = pair_up(stored)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    check_tensors(path, found, shapes, dtypes=(*WEIGHT_DTYPES, torch.int8, torch.quint4x2))
    return found


def _fill_quantised(
    model: nn.Module, tensors: Mapping[str, Stored | StoredQuantised], dtype: torch.dtype | None
) -> None:
    """As `_fill`, of a quantised model."""
    for name, each in tensors.items():
        layer, _, kind = name.rpartition(".")
        weight = each.read() if dtype is None else each.read().to(dtype)
        trained = not isinstance(weight, QuantisedWeight)
        setattr(model.get_submodule(layer), kind, nn.Parameter(weight, requires_grad=trained))
    finish(model)


def _fill(
    model: nn.Module,
    layout: Layout,
    tensors: Mapping[str, Stored | StoredQuantised],
    dtype: torch.dtype | None,
) -> None:
    """Give every weight of `model` the numbers that lie in the files."""
    state: dict[str, Tensor] = {}
    for name, members in _by_tensor(layout, layout.tensors_of(model)):
        theirs = tensors[name].read()
        theirs = theirs if dtype is None else theirs.to(dtype)
        for ours, place in members:
            mine = place.cut(theirs)
            state[ours] = mine if mine is theirs else mine.clone(memory_format=torch.contiguous_format)
    model.load_state_dict(state, strict=False, assign=True)
    if (
        isinstance(model, LanguageModel | MaskedLanguageModel | TranslationModel)
        and model.config.tie_embeddings
    ):
        model.lm_head.weight = model.backbone.embedding.weight


def _to_write(model: AnyModel, layout: Layout, dtype: torch.dtype) -> dict[str, ToWrite]:
    """Their tensors, each to be made from ours when its turn comes."""
    weights = dict(_made_of(layout.tensors_of(model), model))
    shapes = {name: shape for name, (shape, _) in weights.items()}
    return {
        name: ToWrite(
            dtype,
            joined_shape([place for _, place in members], [shapes[ours] for ours, _ in members]),
            partial(_make, members, weights, dtype),
        )
        for name, members in _by_tensor(layout, shapes)
    }


def _make(members: list[tuple[str, Place]], weights: Mapping[str, Any], dtype: torch.dtype) -> Tensor:
    ours = [dense(weights[name][1]().detach()).to(dtype) for name, _ in members]
    return join([place for _, place in members], ours)


def weights_of(model: nn.Module) -> Iterator[tuple[str, tuple[torch.Size, Any]]]:
    """Every weight's name, shape and maker; what adapters change is part of the weight it belongs to."""
    return _made_of(dict(model.named_parameters()), model)


def _made_of(tensors: Mapping[str, Tensor], model: nn.Module) -> Iterator[tuple[str, tuple[torch.Size, Any]]]:
    """As `weights_of`, of these tensors of the model."""
    for name, parameter in tensors.items():
        layer, _, kind = name.rpartition(".")
        if layer == "raters":  # a handful of numbers, kept in config.json
            continue
        module = model.get_submodule(layer)
        if isinstance(module, AdaptedLinear):
            yield name, (parameter.shape, partial(DENSE[kind], module))
        elif not is_brought(name):
            yield name, (parameter.shape, partial(_itself, parameter))


DENSE = {"weight": dense_weight, "bias": dense_bias}


def _itself(parameter: Tensor) -> Tensor:
    return parameter


def _by_tensor(layout: Layout, names: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, Place]]]]:
    """Their names, and which of our weights lie there in which order."""
    placed = [(name, layout.place(name)) for name in names]
    order = {place.name: number for number, (_, place) in reversed([*enumerate(placed)])}
    placed.sort(key=lambda each: (order[each[1].name], each[1].part))
    for theirs, members in groupby(placed, key=lambda each: each[1].name):
        yield theirs, list(members)


def check_written(model: AnyModel) -> None:
    """Insist that other programs have a class for such a model, before it is trained."""
    _written_as(model)


def _written_as(model: AnyModel) -> tuple[Layout, Head]:
    """The layout of a model, as its class has it, and the class."""
    layout = layout_of(model.config)
    head = next((head for head in layout.heads if type(model) is head.kind and head.suits(model)), None)
    if head is None:
        raise ModelFileError(
            f"{layout.model_type} has no class of other programs for a {type(model).__name__}; "
            f"it has {', '.join(dict.fromkeys(head.name for head in layout.heads))}"
        )
    return layout.under(head), head


def _config_tree(model: AnyModel, layout: Layout, head: Head, dtype: str) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "architectures": [head.name],
        "model_type": layout.model_type,
        **layout.write(model.config),
        **pictures_tree(model.config),
        "torch_dtype": dtype,
    }
    if isinstance(model, ScoreModel):
        tree |= {"id2label": {"0": "score"}, "label2id": {"score": 0}, **score_tree(model)}
    if isinstance(model, Classifier):
        tree |= answers_tree(model.answers)
    return tree


def _token_tree(ids: TokenIds) -> dict[str, Any]:
    start = {} if ids.start is None else {"decoder_start_token_id": ids.start}
    return {"bos_token_id": ids.bos, "eos_token_id": list(ids.stop) or None, "pad_token_id": ids.pad, **start}
