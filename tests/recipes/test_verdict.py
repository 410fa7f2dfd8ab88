"""The words about a run follow its numbers."""

import json

import pytest

from danlu.recipes.verdict import verdict


def accuracy(mean, low, high):
    return {"accuracy": {"mean": mean, "low": low, "high": high}}


@pytest.fixture
def write(tmp_path):
    """A run's summaries, some of their numbers replaced."""

    def write(base=1.9, reward=(0.6, 0.55, 0.65), words=0.52, gain=(0.4, 0.1, 0.7), n_parameters=3_000_000):
        stages = {
            "pretrain": {"n_parameters": n_parameters, "n_tokens": 12_000_000},
            "reward": {
                "held_out": accuracy(*reward),
                "held_out_many": accuracy(0.5, 0.45, 0.55),
                "bag_of_words": accuracy(words, 0.4, 0.7),
                "bag_of_words_many": accuracy(0.6, 0.58, 0.62),
            },
            "evaluate": {
                "rewards": {
                    "n": 80,
                    "sft": {"score": -0.1, "length": 60.0, "ended": 0.5},
                    "ppo": {"score": 0.3, "length": 30.0, "ended": 0.9},
                    "difference": dict(zip(("mean", "low", "high"), gain, strict=True)),
                }
            },
        }
        for name, summary in stages.items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "summary.json").write_text(json.dumps(summary))
        bits = {"base": {"en": base, "all": base}, "references": {"byte 5-gram": {"en": 2.0, "all": 2.0}}}
        (tmp_path / "evaluate" / "bits.json").write_text(json.dumps(bits))
        return verdict(tmp_path)

    return write


def test_bits_below_every_reference_are_called_less_and_others_not(write):
    assert "costs it 1.90 bits (byte 5-gram 2.00): less than all of them." in write(base=1.9)["en"]
    said = write(base=2.1)
    assert "costs it 2.10 bits (byte 5-gram 2.00): not less than all." in said["en"]
    assert "未见英文每字节 2.10 比特（字节五元模型 2.00）：并非都更低。" in said["zh"]


@pytest.mark.parametrize(
    ("reward", "words", "said"),
    [
        ((0.60, 0.55, 0.65), 0.52, "better than chance, better than counting words"),
        ((0.60, 0.55, 0.65), 0.58, "better than chance, no clear difference from counting words"),
        ((0.52, 0.48, 0.56), 0.60, "not surely better than chance, worse than counting words"),
    ],
)
def test_an_accuracy_is_judged_by_its_interval(write, reward, words, said):
    assert said in write(reward=reward, words=words)["en"]


def test_rankings_of_many_are_judged_by_themselves(write):
    assert "ten and more answers it orders 50.0 % as they did [45.0, 55.0] (chance 50" in write()["en"]


def test_a_gain_that_may_be_chance_is_not_called_one(write):
    assert "PPO raised the reward model's score: -0.10 to +0.30" in write()["en"]
    assert "PPO did not surely change the reward model's score" in write(gain=(0.1, -0.2, 0.4))["en"]


def test_a_small_model_is_not_to_be_believed(write):
    said = write()
    assert said["en"].startswith("A model of 3.0 million parameters read 12.0 million tokens")
    assert "is unreliable" in said["en"]
    assert "不可靠" in said["zh"]
    assert "unreliable" not in write(n_parameters=2_000_000_000)["en"]


def test_a_run_of_which_nothing_is_known_yet_has_nothing_said_of_it(tmp_path):
    assert verdict(tmp_path) == {"en": "", "zh": ""}
