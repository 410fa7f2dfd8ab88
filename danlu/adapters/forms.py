"""Each kind of adapter as PEFT's files have it: its settings, its tensors, and back again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from danlu.adapters.bottleneck_form import BOTTLENECK_FORM
from danlu.adapters.file_form import AdapterFile, Form, Written
from danlu.adapters.joint_layers import Model
from danlu.adapters.layer_form import ADALORA, IA3, LORA
from danlu.adapters.settings import AdapterConfig
from danlu.adapters.virtual_form import PREFIX, PROMPT
from danlu.model.adapted import Part, places
from danlu.model.weights import ModelFileError


@torch.no_grad()
def write_parts(model: Model, name: str, config: AdapterConfig) -> Written:
    """The adapter of that name."""
    brought = {place: parts[name] for place, parts in places(model).items() if name in parts}
    if not brought:
        raise ValueError(f"the model has no adapter {name!r} to save")
    form = FORMS[config.kind]
    written = form.write(model, brought, config)
    return replace(written, tree={"peft_type": form.peft_type, "inference_mode": True, **written.tree})


def parts_of(model: Model, file: AdapterFile) -> dict[str, Part]:
    """What the file brings, by our names of the places; anything that does not fit the model is an error."""
    return FORMS[file.config.kind].parts(model, file)


def settings_of(where: Path, tree: Mapping[str, Any]) -> AdapterConfig:
    """What an adapter's config asks for; a setting that changes the arithmetic as we cannot is refused."""
    peft_type = tree.get("peft_type")
    form = next((form for form in FORMS.values() if form.peft_type == peft_type), None)
    if form is None:
        known = ", ".join(dict.fromkeys(form.peft_type for form in FORMS.values()))
        raise ModelFileError(f"{where}: peft_type is {peft_type!r}; these can be read: {known}")
    allowed_here = {**COMMON, **form.allowed}
    for key, value in tree.items():
        if key in IGNORED or key in form.ignored or key in form.reads:
            continue
        allowed = allowed_here.get(key, NOTHING)
        if value not in allowed:
            raise ModelFileError(f"{where}: {key} is {value!r}; only {allowed[0]!r} can be read")
    try:
        return form.settings(tree)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{where}: {form.numbers} ({error})") from error


# Which layers are adapted is told by the tensors; the rest is about training, or about where files lie.
IGNORED = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "peft_type",
        "peft_version",
        "revision",
        "target_modules",
        "task_type",
    }
)
NOTHING: tuple[Any, ...] = (None, False, {}, [], "")
COMMON: dict[str, tuple[Any, ...]] = {
    "modules_to_save": (
        ["score"],
        ["classifier", "score"],
        ["classifier"],
        ["classifier", "pooler"],
        ["qa_outputs"],
        None,
        [],
    )
}
FORMS: dict[str, Form] = {
    **{"lora": LORA, "dora": LORA, "adalora": ADALORA, "ia3": IA3},
    **{"prefix": PREFIX, "p_tuning_v2": PREFIX, "prompt": PROMPT},
    **{"houlsby": BOTTLENECK_FORM, "pfeiffer": BOTTLENECK_FORM},
}
