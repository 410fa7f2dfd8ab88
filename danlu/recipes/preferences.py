"""A reward model on people's rankings that it has not seen, and what practising for its reward came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.data.chats import Comparison, read_comparisons
from danlu.data.language import identify
from danlu.data.rankings import tokenize_comparison
from danlu.evaluate.bag_of_words import BagOfWords
from danlu.evaluate.ranking import Pair, pairs_of, summarise_pairs
from danlu.evaluate.statistics import macro_bootstrap
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.model.hf import load_score_model
from danlu.recipes.speaker import Speaker
from danlu.recipes.stage import chat_format_of
from danlu.rl.scoring import score_sequences
from danlu.tokenizer.chat import Message

# Where held-out rankings lie in the folder of the teaching, and what the two measures of each are called.
HELD_OUT = {
    "held_out_rankings.jsonl": ("held_out", "bag_of_words"),
    "many_rankings.jsonl": ("held_out_many", "bag_of_words_many"),
}


def measure_preferences(reward_model: Path, teaching: Path) -> dict[str, Any]:
    """Accuracy of the reward model and of counts of words, which learnt from the same rankings."""
    found = {name: read_comparisons(teaching / name) for name in HELD_OUT if (teaching / name).exists()}
    if not found:
        return {}
    chat_format = chat_format_of(reward_model)
    model = load_score_model(reward_model, vocab_size=chat_format.tokenizer.vocab_size).eval()
    learnt = read_comparisons(teaching / "rankings.jsonl")
    bag = BagOfWords.fit([c.completions for c in learnt], [c.ranks for c in learnt])
    measured: dict[str, Any] = {}
    for name, comparisons in found.items():
        rows = [row for each in comparisons for row in tokenize_comparison(each, chat_format).sequences]
        scores = score_sequences(model, rows, chat_format.tokenizer.pad_id)
        words = bag.scores([completion for each in comparisons for completion in each.completions])
        by_model, by_words = HELD_OUT[name]
        measured[by_model] = summarise_pairs(all_pairs(comparisons, scores))
        measured[by_words] = summarise_pairs(all_pairs(comparisons, words))
    return measured


def all_pairs(comparisons: Sequence[Comparison], scores: Sequence[float]) -> list[Pair]:
    """Every pair of every ranking, named by its source; rankings that share a prompt are no two witnesses."""
    pairs: list[Pair] = []
    left = iter(scores)
    for each in comparisons:
        source, asked = each.id.split("/")[0], each.prompt[-1]["content"]
        own = [next(left) for _ in each.completions]
        found = pairs_of(asked, own, each.ranks, language=identify(asked), kind=lambda i, j, s=source: s)
        pairs += found
    return pairs


def compare_rewards(
    reward_model: Path, sft: Speaker, ppo: Speaker, prompts: Sequence[Sequence[Message]], max_new_tokens: int
) -> dict[str, Any]:
    """The reward model's mean score of both systems' answers to held-out prompts, drawn at temperature 1."""
    speakers = {"sft": sft, "ppo": ppo}
    return compare_speakers([reward_model], speakers, prompts, max_new_tokens)


def compare_speakers(
    judges: Sequence[Path],
    speakers: Mapping[str, Speaker],
    prompts: Sequence[Sequence[Message]],
    max_new_tokens: int,
) -> dict[str, Any]:
    """The mean score that reward models give two systems' answers, drawn at temperature 1.

    Args:
        judges: reward models; of several the mean counts.
        speakers: two, the earlier first.
        prompts: held out.
        max_new_tokens: of an answer.
    """
    chat = next(iter(speakers.values())).chat
    models = [load_score_model(path, vocab_size=chat.tokenizer.vocab_size).eval() for path in judges]
    summary: dict[str, Any] = {"n": len(prompts)}
    scores: dict[str, list[float]] = {}
    for name, speaker in speakers.items():
        ids = [speaker.chat.prompt(prompt) for prompt in prompts]
        sampler = Sampler(speaker.model, stop_ids=speaker.chat.stop_ids)
        drawn = sampler.generate(ids, SamplingConfig(max_new_tokens=max_new_tokens))
        rows = [[*prompt, *completion.ids] for prompt, completion in zip(ids, drawn, strict=True)]
        given = [score_sequences(model, rows, speaker.chat.tokenizer.pad_id) for model in models]
        scores[name] = [sum(each) / len(each) for each in zip(*given, strict=True)]
        summary[name] = {
            "score": sum(scores[name]) / len(rows),
            "length": sum(len(completion.ids) for completion in drawn) / len(rows),
            "ended": sum(completion.finish_reason == "stop" for completion in drawn) / len(rows),
        }
    first, second = scores.values()
    gains = [after - before for before, after in zip(first, second, strict=True)]
    return {**summary, "difference": macro_bootstrap([gains]).to_tree()}
