"""TRL's trainers as competitors of bench/rlhf.py."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from trainer_turns import train_in_turns, waits_for_turns
from turns import Turns

if TYPE_CHECKING:
    from rlhf import Task

transformers: Any = importlib.import_module("transformers")
datasets: Any = importlib.import_module("datasets")


def train_with_trl(method: str, name: str, task: Task, folder: Path) -> None:
    """Run a trainer that waits for its turn before every rollout, or before a number of updates."""
    warnings.filterwarnings("ignore")
    settings = Settings(name, folder)
    build = {"ppo": ppo_trainer, "grpo": grpo_trainer, "reward": reward_trainer}[method]
    turns = Turns()
    per_turn = {
        "ppo": 1,  # PPOTrainer's step is a whole rollout
        "grpo": task.n_epochs * task.n_episodes // task.minibatch_size,
        "reward": task.n_updates,
    }[method]
    train_in_turns(build(settings, task, waits_for_turns(turns, per_turn)))


class Settings:
    """Models and arguments of one competitor."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder, self.bf16, self.compiled = folder, "bf16" in name, name.endswith("compiled")

    @property
    def arguments(self) -> dict[str, Any]:
        """What the three trainers' settings have in common."""
        return {
            "output_dir": str(self.folder / "trl"),
            "use_cpu": True,
            "bf16": self.bf16,
            "gradient_checkpointing": False,
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
        }

    def policy(self) -> Any:
        model = transformers.AutoModelForCausalLM.from_pretrained(self.folder / "policy", dtype=torch.float32)
        model.generation_config.pad_token_id = 0
        return self._perhaps_compiled(model, model)

    def score_model(self) -> Any:
        auto = transformers.AutoModelForSequenceClassification
        model = auto.from_pretrained(self.folder / "reward", num_labels=1, dtype=torch.float32)
        model.config.pad_token_id = 0
        self._perhaps_compiled(model.model, model)
        return model

    def _perhaps_compiled(self, inner: Any, outer: Any) -> Any:
        """Whole sequences go through compiled code, single tokens of sampling do not."""
        if self.compiled:
            plain: Callable[..., Any] = inner.forward
            compiled = torch.compile(plain)

            def forward(*args: Any, **kwargs: Any) -> Any:
                samples = kwargs.get("past_key_values") is not None or kwargs.get("use_cache")
                return (plain if samples else compiled)(*args, **kwargs)

            inner.forward = forward
        return outer


def words(task: Task) -> Any:
    """A tokenizer of one word an id."""
    tokenizers: Any = importlib.import_module("tokenizers")
    vocabulary = {f"w{i}": i for i in range(task.vocab_size)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="w1"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="w0", eos_token="w1", unk_token="w1", padding_side="left"
    )


def ppo_trainer(settings: Settings, task: Task, callback: Any) -> Any:
    ppo: Any = importlib.import_module("trl.experimental.ppo")
    n_minibatches = task.n_episodes // task.minibatch_size
    config = ppo.PPOConfig(
        **settings.arguments,
        learning_rate=task.lr,
        per_device_train_batch_size=task.minibatch_size,
        gradient_accumulation_steps=n_minibatches,
        num_mini_batches=n_minibatches,
        local_rollout_forward_batch_size=task.n_episodes,
        num_ppo_epochs=task.n_epochs,
        total_episodes=1_000_000,
        response_length=task.completion_len,
        temperature=1.0,
        kl_coef=task.kl_coef,
        num_sample_generations=0,
    )
    rows = datasets.Dataset.from_list([{"input_ids": ids} for ids in task.prompts()])
    return ppo.PPOTrainer(
        args=config,
        processing_class=words(task),
        model=settings.policy(),
        ref_model=settings.policy(),
        reward_model=settings.score_model(),
        value_model=settings.score_model(),
        train_dataset=rows,
        eval_dataset=rows.select(range(task.minibatch_size)),
        callbacks=[callback],
    )


def grpo_trainer(settings: Settings, task: Task, callback: Any) -> Any:
    trl: Any = importlib.import_module("trl")
    config = trl.GRPOConfig(
        **settings.arguments,
        learning_rate=task.lr,
        per_device_train_batch_size=task.minibatch_size,
        steps_per_generation=task.n_episodes // task.minibatch_size,
        num_generations=task.n_completions,
        num_iterations=task.n_epochs,
        max_completion_length=task.completion_len,
        max_steps=1_000_000,
        temperature=1.0,
        beta=task.kl_coef,
        loss_type="grpo",
    )
    tokenizer = words(task)
    texts = [" ".join(f"w{i}" for i in ids) for ids in task.prompts()]
    return trl.GRPOTrainer(
        model=settings.policy(),
        reward_funcs=settings.score_model(),
        reward_processing_classes=tokenizer,
        processing_class=tokenizer,
        args=config,
        train_dataset=datasets.Dataset.from_list([{"prompt": text} for text in texts]),
        callbacks=[callback],
    )


def reward_trainer(settings: Settings, task: Task, callback: Any) -> Any:
    trl: Any = importlib.import_module("trl")
    config = trl.RewardConfig(
        **settings.arguments,
        learning_rate=task.lr,
        per_device_train_batch_size=task.n_rankings * task.pairs_per_ranking,
        max_steps=1_000_000,
        max_length=None,
    )
    return trl.RewardTrainer(
        model=settings.score_model(),
        args=config,
        processing_class=words(task),
        train_dataset=datasets.Dataset.from_list(pairs(task)),
        callbacks=[callback],
    )


def pairs(task: Task) -> list[Mapping[str, list[int]]]:
    """Every ranking as all its pairs."""
    found: list[Mapping[str, list[int]]] = []
    for prompt, answers in task.ranked():
        whole = [[*prompt, *answer] for answer in answers]
        for better in range(task.n_ranked):
            for worse in range(better + 1, task.n_ranked):
                found.append({"chosen_ids": whole[better], "rejected_ids": whole[worse]})
    return found
