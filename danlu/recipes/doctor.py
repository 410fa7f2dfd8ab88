"""`danlu doctor STAGE …`: what a training stage would really see, and whether it is fit to be trained.

It takes the settings of the stage itself, or its run directory, builds what the stage would build, shows one
example and checks the rest. It trains nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path

from danlu.config import ConfigError, read_toml
from danlu.inspect.view import check_line, console
from danlu.recipes.checkups import CHECKUPS, Checkup, PpoDoctor, PretrainDoctor, RewardDoctor, SftDoctor

SUMMARY = "show and check what a stage will train on: danlu doctor STAGE …, or a run directory"

DoctorConfig = PretrainDoctor | SftDoctor | RewardDoctor | PpoDoctor
FORMS: dict[str, type] = {
    "pretrain": PretrainDoctor,
    "sft": SftDoctor,
    "reward": RewardDoctor,
    "ppo": PpoDoctor,
}


class UnfitError(ValueError):
    """A stage would train on what is silently wrong; the message names the checks that say so."""


def run(config: DoctorConfig) -> Path:
    """Show and check; anything wrong is an error once all is shown."""
    screen = console()
    checkup: Checkup = CHECKUPS[type(config)]
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
        return FORMS[first], [_config_in(word) for word in rest[:1]] + rest[1:]
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
    """The stage whose required settings a config file holds."""
    keys = read_toml(path).keys()
    for form in FORMS.values():
        required = {
            each.name for each in fields(form) if each.default is MISSING and each.default_factory is MISSING
        }
        if required <= keys:
            return form
    raise ConfigError(f"{path}: holds the settings of none of {', '.join(FORMS)}")
