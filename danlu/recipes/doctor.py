"""`danlu doctor STAGE …`: what a training stage would really see, and whether it is fit to be trained.

It takes the settings of the stage itself, or its run directory, builds what the stage would build, shows one
example and checks the rest. It trains nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path

from danlu.config import ConfigError, load, read_toml
from danlu.inspect.view import check_line, console
from danlu.recipes import checkups, pretrain, rollout_checkup
from danlu.recipes.checking import Checkup
from danlu.recipes.checkups import ContinueDoctor, PretrainDoctor, RewardDoctor, SftDoctor
from danlu.recipes.continued import ContinueConfig
from danlu.recipes.rollout_checkup import GrpoDoctor, PolicyDoctor, PpoDoctor, RlooDoctor

SUMMARY = "show and check what a stage will train on: danlu doctor STAGE …, or a run directory"

DoctorConfig = PretrainDoctor | ContinueDoctor | SftDoctor | RewardDoctor | PolicyDoctor
FORMS: dict[str, type] = {
    "pretrain": PretrainDoctor,
    "sft": SftDoctor,
    "reward": RewardDoctor,
    "ppo": PpoDoctor,
    "grpo": GrpoDoctor,
    "rloo": RlooDoctor,
}


class UnfitError(ValueError):
    """A stage would train on what is silently wrong; the message names the checks that say so."""


def run(config: DoctorConfig) -> Path:
    """Show and check; anything wrong is an error once all is shown."""
    screen = console()
    checkup: Checkup = (checkups.CHECKUPS | rollout_checkup.CHECKUPS)[type(config)]
    wrong: list[str] = []
    for finding in checkup(config, screen):
        screen.print(check_line(finding))
        wrong += [] if finding.ok else [finding.check]
    if wrong:
        raise UnfitError(f"checks that went wrong: {', '.join(wrong)}")
    screen.print("\nNothing is wrong.")
    return config.out


def choose(words: Sequence[str]) -> tuple[type, list[str]]:
    """The settings that a command line is about, and the words that set them.

    The first word is a stage's name, which a run directory may follow, or a run directory, or a config file.
    """
    first, *rest = words or [""]
    if first in FORMS:
        rest = [_config_in(word) for word in rest[:1]] + rest[1:]
        goes_on = first == "pretrain" and pretrain.choose(rest)[0] is ContinueConfig
        return ContinueDoctor if goes_on else FORMS[first], rest
    path = Path(_config_in(first))
    if path.suffix != ".toml":
        raise ConfigError(
            f"{first!r} is neither a stage nor a run directory; name {', '.join(FORMS)}, "
            "or the run directory of one of them"
        )
    return recognise(path), [str(path), *rest]


def _config_in(word: str) -> str:
    """The config file of a run directory; any other word as it is."""
    path = Path(word) / "config.toml"
    return str(path) if word and path.is_file() else word


def recognise(path: Path) -> type:
    """The first stage whose settings a config file holds, or else the first that could be meant."""
    keys = read_toml(path).keys()
    meant = [form for form in (*FORMS.values(), ContinueDoctor) if required_settings(form) <= keys]
    if not meant:
        raise ConfigError(f"{path}: holds the settings of none of {', '.join(FORMS)}")
    return next((form for form in meant if is_config_of(form, path)), meant[0])


def required_settings(form: type) -> set[str]:
    """Settings without a default."""
    return {each.name for each in fields(form) if each.default is MISSING and each.default_factory is MISSING}


def is_config_of(form: type, path: Path) -> bool:
    """Whether a config file can be read as this form: a run of GRPO has settings that PPO does not know."""
    try:
        load(form, path)
    except ConfigError:
        return False
    return True
