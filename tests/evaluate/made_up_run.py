"""A run directory as the stages leave it, with made-up numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from danlu.evaluate.exam import Graded, save_results
from danlu.evaluate.ranking import Pair, summarise_pairs

CATEGORIES = (
    "facts",
    "two_facts",
    "arithmetic",
    "reference",
    "translation",
    "sentiment",
    "unknown",
    "harmful",
)
LABELS = {"facts": {"en": "facts", "zh": "事实"}, "arithmetic": {"en": "arithmetic", "zh": "算术"}}
SKILL = {"base": 0.15, "sft": 0.45, "sft_longer": 0.47, "ppo": 0.6}
HOSTILE = '<script>alert("gotcha")</script><img src="http://example.org/x.png">'


def write_json(path: Path, tree: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_exam(folder: Path) -> None:
    rng = np.random.default_rng(0)
    results: dict[str, list[Graded]] = {name: [] for name in SKILL}
    for k, category in enumerate(CATEGORIES):
        for lang in ("en", "zh"):
            for i in range(24):
                asked = "Who is Mira's friend?" if lang == "en" else "米拉的朋友是谁？"
                messages = ({"role": "user", "content": f"{asked} ({category} {i})"},)
                luck = rng.random()
                for name, skill in SKILL.items():
                    score = float(luck < min(skill * (0.6 + 0.1 * k), 0.97))
                    answer = ("Toma Brell. " if lang == "en" else "托马·布雷尔。") if score else HOSTILE
                    results[name].append(
                        Graded(f"{category}-{lang}-{i}", category, lang, answer, score, messages)
                    )
    save_results(results, folder, [("base", "sft"), ("sft", "ppo"), ("sft", "sft_longer")], labels=LABELS)


def reward_summary(skill: float) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    kinds = ("fact", "honesty", "language", "form", "relevance")
    pairs = [
        Pair(
            prompt=str(i // 10),
            margin=float(rng.normal(skill, 1)),
            tie=bool(rng.random() < 0.1),
            kind=str(rng.choice(kinds)),
            language="en" if i % 20 < 10 else "zh",
        )
        for i in range(1200)
    ]
    return summarise_pairs(pairs)


def write_account(path: Path) -> None:
    """As a cleaning of two files writes it."""

    def tally(documents: int, n_bytes: int, *examples: str) -> dict[str, Any]:
        return {"documents": documents, "bytes": n_bytes, "examples": list(examples)}

    kinds = (
        "exact_duplicate",
        "near_duplicate",
        "mojibake",
        "markup",
        "advertisement",
        "junk",
        "private_data",
    )
    write_json(
        path,
        {
            "read": {"part-0000.jsonl": tally(6000, 2_400_000), "part-0001.jsonl": tally(4000, 1_600_000)},
            "dropped": {
                "exact duplicate": tally(300, 120_000, "The river Hadra flows through Sewold."),
                "near duplicate": tally(280, 110_000, HOSTILE),
                "gibberish": tally(90, 20_000, "xqz vvk prrt"),
            },
            "mended": {
                "markup": tally(210, 12_000, "<b>Mira</b> sings. → Mira sings."),
                "mojibake": tally(150, 9_000),
            },
            "masked": {"email": 41, "phone": 37},
            "kept": {
                "train en": tally(4600, 1_800_000),
                "train zh": tally(4580, 1_790_000),
                "held_out en": tally(75, 30_000),
                "held_out zh": tally(75, 30_000),
            },
            "grade": {
                "by_kind": {kind: {"documents": 200, "recall": 0.97, "precision": 0.99} for kind in kinds},
                "clean": {"documents": 8500, "lost": 17, "mended_or_lost": 30},
            },
        },
    )


def write_training(folder: Path) -> None:
    rows: list[dict[str, Any]] = []
    for step in range(1, 901):
        loss = 1.9 + 5.2 * math.exp(-step / 90) + 0.1 * math.sin(step)
        rows.append(
            {"step": step, "loss": loss, "lr": 1e-3, "tokens_per_s": 21000 + 900 * math.cos(step / 7)}
        )
        if step % 150 == 0:
            bits = {"en": loss / 2.7, "zh": loss / 2.2, "all": loss / 2.4}
            rows.append({"step": step, "held_out": {"eval_loss": loss + 0.05, "bits_per_byte": bits}})
    write_lines(folder / "pretrain" / "metrics.jsonl", rows)
    write_json(
        folder / "pretrain" / "summary.json",
        {
            "held_out": {"eval_loss": 1.93, "bits_per_byte": {"en": 0.71, "zh": 0.88, "all": 0.79}},
            "predicted_loss": 0.81,
            "n_parameters": 1_640_000,
            "n_tokens": 4_100_000,
            "samples": ["Once upon a time, Mira went to the river.", f"从前，{HOSTILE}"],
            "seconds": 201.5,
            "peak_memory_mb": 1210.0,
        },
    )
    sft = [{"step": s, "loss": 2.5 * math.exp(-s / 40) + 0.4, "held_out_loss": 0.5} for s in range(1, 121)]
    write_lines(folder / "sft" / "metrics.jsonl", sft)
    samples = [["Who are you?", "I am an assistant."], ["你是谁？", "我是助手。"]]
    write_json(folder / "sft" / "summary.json", {"samples": samples, "seconds": 38.2, "peak_memory_mb": 980})


def write_alignment(folder: Path) -> None:
    write_json(
        folder / "comparisons" / "summary.json", {"n_rankings": 400, "agreement": 0.752, "seconds": 22.0}
    )
    write_lines(
        folder / "reward" / "metrics.jsonl", [{"step": s, "loss": 0.69 * 0.99**s} for s in range(1, 51)]
    )
    write_json(
        folder / "reward" / "summary.json",
        {
            "held_out": reward_summary(0.7),
            "noise_free": {
                **reward_summary(1.6),
                "conduct": {"n_pairs": 980, "accuracy": {"mean": 0.93, "low": 0.91, "high": 0.95}},
                "at_any_gap": {"n_pairs": 0, "accuracy": None},
            },
            "seconds": 25.4,
            "peak_memory_mb": 900,
        },
    )
    rows = [
        {
            "step": step,
            "entropy": 1.4 - step / 400,
            "clip_fraction": 0.08,
            "loss": math.nan,
            "rollout": {
                "score": step / 60,
                "true_score": 0.45 + step / 1200,
                "kl": 6 * (1 - math.exp(-step / 40)),
                "kl_coef": 0.1 + step / 4000,
                "length": 14 + step / 100,
                "ended": 0.97,
                "explained_variance": 0.2 + step / 400,
                "distinct": 0.9,
            },
        }
        for step in range(1, 241, 4)
    ]
    write_lines(folder / "ppo" / "metrics.jsonl", rows)
    (folder / "ppo" / "config.toml").write_text("seed = 0\n\n[kl]\ntarget = 6.0\n", encoding="utf-8")
    write_json(folder / "ppo" / "summary.json", {"seconds": 132.9, "peak_memory_mb": 1900})


def write_run(folder: Path) -> Path:
    write_json(
        folder / "plan.json",
        {
            "minutes": 8,
            "seed": 0,
            "tokens_per_s": 21500.0,
            "shape": {"n_layers": 4, "d_model": 160},
            "predicted": {
                "total_seconds": 480,
                "tokens": 4_300_000,
                "seconds": {"pretrain": 210, "ppo": 120},
            },
        },
    )
    write_account(folder / "data" / "account.json")
    write_json(
        folder / "tokenizer" / "summary.json",
        {"vocab_size": 2048, "bytes_per_token": {"en": 4.02, "zh": 4.31, "all": 4.15}, "seconds": 3.1},
    )
    write_training(folder)
    write_alignment(folder)
    write_exam(folder / "evaluate")
    write_json(
        folder / "evaluate" / "bits.json",
        {
            "untrained": {"en": 2.75, "zh": 2.58, "all": 2.66},
            "base": {"en": 0.71, "zh": 0.88, "all": 0.79},
            "sft": {"en": 0.73, "zh": 0.9, "all": 0.81},
            "ppo": {"en": 0.735, "zh": 0.905, "all": 0.815},
        },
    )
    return folder
