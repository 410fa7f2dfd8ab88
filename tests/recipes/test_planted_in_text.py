"""What is planted in texts is found by `danlu reward`: a reward, people's noise, and with fewer labels."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field, replace

import pytest
import torch

from danlu.evaluate.ranking import pairs_of, summarise_pairs
from danlu.model.heads import LanguageModel
from danlu.model.raters import tie_start
from danlu.objectives.ranking import TIES, Ranking, outcome_probabilities
from danlu.recipes import reward
from danlu.recipes.jsonl import write_jsonl
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import publish
from danlu.tokenizer.bpe import Tokenizer
from danlu.train.optim import OptimConfig

pytestmark = pytest.mark.slow

SHAPE = Shape(d_model=32, n_layers=1, n_heads=2, n_kv_heads=2, head_dim=16, d_ff=64, max_seq_len=64)
WORDS = ["sky", "grass", "snow", "coal", "stone", "river", "bread", "salt", "iron", "wool", "milk", "corn",
         "sand", "rope", "lamp", "door", "wheel", "glass", "paper", "honey"]  # fmt: skip
PROMPT = [{"role": "user", "content": "Name things."}]


@dataclass
class People:
    """Their reward of a text is a sum over its words."""

    rng: random.Random
    values: dict[str, float] = field(default_factory=dict)

    @classmethod
    def drawn(cls, seed, spread=0.7):
        rng = random.Random(seed)
        return cls(rng, {word: rng.gauss(0, spread) for word in WORDS})

    def text(self):
        return " ".join(self.rng.choices(WORDS, k=5))

    def score(self, text):
        return sum(self.values[word] for word in text.split())

    def ranked(self, k, scale=1.0, annotator=""):
        """A ranking of k texts by score times scale and Gumbel noise: Plackett-Luce."""
        texts = [self.text() for _ in range(k)]
        seen = [scale * self.score(t) - math.log(-math.log(self.rng.random() or 0.5)) for t in texts]
        order = sorted(range(k), key=lambda i: -seen[i])
        ranks = [order.index(i) + 1 for i in range(k)]
        return {"prompt": PROMPT, "completions": texts, "ranks": ranks, "annotator": annotator}

    def paired(self, kind, log_tie):
        """Two texts as somebody orders them, or calls them level."""
        texts = [self.text(), self.text()]
        chances = outcome_probabilities(kind, self.score(texts[0]) - self.score(texts[1]), log_tie)
        ranks = self.rng.choices([[1, 2], [1, 1], [2, 1]], chances)[0]
        return {"prompt": PROMPT, "completions": texts, "ranks": ranks}

    def bayes(self, records, outcomes=None):
        """What nobody can surpass: the summary of pairs judged by the planted reward itself."""
        pairs = [
            pair
            for record in records
            for pair in pairs_of(
                "", [self.score(t) for t in record["completions"]], record["ranks"], outcomes=outcomes
            )
        ]
        return summarise_pairs(pairs)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "model"
    tokenizer = Tokenizer.train([" ".join(random.Random(i).sample(WORDS, 20)) for i in range(200)], 400)
    publish(LanguageModel(SHAPE.model_config(tokenizer.vocab_size), seed=0), tokenizer, path)
    return path


@pytest.fixture
def settings(base, tmp_path):
    return reward.RewardConfig(
        base=base,
        comparisons=tmp_path / "rankings.jsonl",
        held_out=tmp_path / "held_out.jsonl",
        out=tmp_path / "out",
        prompts_per_batch=16,
        optim=OptimConfig(kind="muon", lr=3e-3, weight_decay=0.01),
        eval_every=10_000,
        save_every=10_000,
        n_epochs=3.0,
    )


def trained(config, records, held_out):
    """The summary of a model that computes in float32 whatever is fastest here."""
    write_jsonl(config.comparisons, records)
    write_jsonl(config.held_out, held_out)
    config.out.mkdir(parents=True)
    machine = {"dtype": "float32", "kernels": "plain", "threads": torch.get_num_threads()}
    (config.out / "machine.json").write_text(json.dumps(machine))
    reward.run(config)
    return json.loads((config.out / "summary.json").read_text())


@pytest.mark.parametrize(
    ("planted", "fitted"),
    [
        ("davidson", "davidson"),
        ("davidson", "bradley_terry"),
        ("davidson", "rao_kupper"),
        ("rao_kupper", "rao_kupper"),
        ("rao_kupper", "davidson"),
    ],
)
def test_a_reward_planted_in_texts_is_recovered_ties_included(settings, planted, fitted):
    people, log_tie = People.drawn(1), torch.tensor(tie_start(planted, 0.4))
    records = [people.paired(planted, log_tie) for _ in range(4000)]
    train, held_out = records[:2500], records[2500:]
    found = trained(replace(settings, objective=Ranking(kind=fitted)), train, held_out)["held_out"]
    bayes = people.bayes(held_out, lambda margin: outcome_probabilities(planted, margin, log_tie))
    assert 0.7 < bayes["accuracy"]["mean"] < 0.9
    assert found["accuracy"]["mean"] >= 0.95 * bayes["accuracy"]["mean"]
    assert found["ties"]["smaller_gap"] >= 0.95 * bayes["ties"]["smaller_gap"]
    if fitted in TIES:  # and of all pairs, what people said: better, worse or level
        said, best = (each["ties"]["accuracy"]["all"]["mean"] for each in (found, bayes))
        assert 1 / 3 < best < bayes["accuracy"]["mean"]
        assert said >= 0.95 * best


@pytest.mark.parametrize("kind", ["bradley_terry", "plackett_luce"])
def test_each_raters_noise_is_found_within_a_tenth_from_a_thousand_rankings(settings, kind):
    people = People.drawn(2, spread=1.0)
    scales = {"ann": 1 / 2, "bob": 1 / 1.3, "cat": 1.3, "eve": 2.0}  # their geometric mean is one
    records = [people.ranked(6, scale, name) for name, scale in scales.items() for _ in range(1000)]
    objective = Ranking(kind=kind, rater_noise=True)
    found = trained(replace(settings, objective=objective, n_epochs=2.0), records, records[:50])
    ratios = {name: found["raters"]["reliability"][name] / scale for name, scale in scales.items()}
    assert all(abs(math.log(ratio)) < math.log(1.1) for ratio in ratios.values()), ratios


def test_other_preferences_first_halve_the_labels_that_are_needed(settings):
    gains = []
    for seed in range(3):
        people = People.drawn(seed)
        # Three times as noisy, and of a taste that differs a little.
        values = {word: value + people.rng.gauss(0, 0.25) for word, value in people.values.items()}
        others = People(people.rng, values)
        votes = [others.ranked(4, 1 / 3) for _ in range(12_000)]
        labels = [people.ranked(4) for _ in range(400)]
        held_out = [people.ranked(4) for _ in range(500)]

        def accuracy(name, records, base=settings.base, n_epochs=3.0, held_out=held_out, seed=seed):
            config = replace(settings, base=base, out=settings.out / f"{seed}-{name}", n_epochs=n_epochs)
            return trained(config, records, held_out)["held_out"]["accuracy"]["mean"]

        pretrained = accuracy("votes", votes, n_epochs=1.0)
        alone = accuracy("alone", labels)
        half = accuracy("half", labels[:200], base=settings.out / f"{seed}-votes" / "model")
        gains.append([pretrained, alone, half])
    pretrained, alone, half = torch.tensor(gains).mean(0).tolist()
    assert half > alone
    assert half > pretrained  # the labels are still learnt from
