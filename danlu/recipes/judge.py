"""What rewards in a recipe: a reward model, a service, or a function that `run` is handed."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from danlu.adapters.files import find_base, is_adapter, load_score_adapter, read_adapter
from danlu.config import ConfigError
from danlu.data.records import DataError
from danlu.evaluate.task import Q, Task
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_score_model
from danlu.recipes.stage import chat_format_of
from danlu.rl.judges import CheckedReward, Endpoint, Grade, reward_of_endpoint, reward_of_grade
from danlu.rl.rollout import Prompt
from danlu.rl.scoring import reward_of
from danlu.tokenizer.bpe import Tokenizer
from danlu.tokenizer.chat import ChatFormat


class Judged(Protocol):
    """Settings that say what rewards."""

    @property
    def policy(self) -> Path: ...

    @property
    def reward_model(self) -> Path | None: ...

    @property
    def endpoint(self) -> Endpoint: ...

    @property
    def grade_timeout_s(self) -> float | None: ...


def check_judge(config: Judged, grade: Grade | None) -> None:
    """Exactly one thing rewards, and it reads the policy's tokens."""
    check_one_judge(config, grade)
    if config.reward_model is not None:
        check_same_tokenizer(config.policy, config.reward_model)


def check_one_judge(config: Judged, grade: Grade | None) -> None:
    """Exactly one thing rewards."""
    given = {
        f"reward_model is {config.reward_model}": config.reward_model is not None,
        f"endpoint.url is {config.endpoint.url}": config.endpoint.url is not None,
        "`run` got a function": grade is not None,
    }
    found = [what for what, there in given.items() if there]
    if not found:
        raise ConfigError(
            "reward_model is not set; name a model directory, or endpoint.url, or hand `run` a function"
        )
    if len(found) > 1:
        raise ConfigError(f"{' and '.join(found)}; only one can reward")
    if config.grade_timeout_s is not None and grade is None:
        raise ConfigError(
            f"grade_timeout_s is {config.grade_timeout_s:g} and no function rewards; "
            "it has no effect here. A service has endpoint.timeout_s"
        )


def check_same_tokenizer(policy: Path, reward_model: Path) -> None:
    """Refuse a reward model to which the policy's ids mean something else."""
    ours, theirs = (tokenizer_of(path).fingerprint[:12] for path in (policy, reward_model))
    if ours != theirs:
        raise ConfigError(
            f"reward_model is {reward_model}, whose tokenizer ({theirs}) is not that of the policy ({ours}); "
            "every id would mean something else. Train it from the same model as the policy"
        )


def tokenizer_of(path: Path) -> Tokenizer:
    """The tokenizer of a model directory, or of the base that an adapter directory names."""
    return chat_format_of(find_base(read_adapter(path)) if is_adapter(path) else path).tokenizer


def load_reward_model(config: Judged, reference: LanguageModel) -> ScoreModel | None:
    """The reward model, if one rewards, with all weights that it does not share left to be trained.

    An adapter on the policy's own model directory stands on the weights of `reference` and freezes them.
    """
    path = config.reward_model
    if path is None:
        return None
    if is_adapter(path):
        return load_score_adapter(path, base=reference, base_dir=config.policy)
    return load_score_model(path, vocab_size=reference.config.vocab_size)


def reward_by(
    config: Judged, reward_model: ScoreModel | None, grade: Grade | None, chat_format: ChatFormat
) -> CheckedReward:
    """Whatever rewards, as a function of rollouts."""
    if reward_model is not None:
        return CheckedReward(reward_of(reward_model, chat_format.tokenizer.pad_id))
    if grade is not None:
        return CheckedReward(reward_of_grade(grade, chat_format, config.grade_timeout_s))
    return CheckedReward(reward_of_endpoint(config.endpoint, chat_format))


def grade_of(task: Task[Q]) -> Grade:
    """A task as a reward: its grade of the answer, for prompts whose ids are those of its questions."""
    questions = {question.id: question for question in task.questions()}

    def grade(prompt: Prompt, answer: str) -> float:
        if prompt.id not in questions:
            raise DataError(
                f"prompt {prompt.id!r} is no question of the task; write prompts from its questions"
            )
        return task.grade(questions[prompt.id], answer)

    return grade
