"""What a fine-tuned model has to beat on labelled texts: guesses that need no language model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from danlu.data.quality import UNIT
from danlu.evaluate.bag_of_words import N_FEATURES, Floats, Rows, rows_of

PENALTIES = (1e-5, 1e-4, 1e-3)  # of which the one that does best on texts left out is taken
LEFT_OUT = 5  # every fifth text
N_STEPS = 60
MOST_TEXTS = 20_000  # learnt from


class WordClassifier:
    """Logistic regression on counts of words, phrases and letters."""

    def __init__(self, weights: Floats, labels: Sequence[str], penalty: float) -> None:
        self.weights, self.labels, self.penalty = weights, labels, penalty  # (classes, features)

    @classmethod
    def fit(cls, texts: Sequence[str], wanted: Sequence[str], labels: Sequence[str]) -> WordClassifier:
        """Learn; the penalty is chosen on every fifth text, then all are learnt from.

        Args:
            texts: at least one.
            wanted: the label of each.
            labels: every label there is, in the order that decides ties.
        """
        texts, wanted = texts[:MOST_TEXTS], wanted[:MOST_TEXTS]
        numbers = np.array([list(labels).index(label) for label in wanted])
        left_out = np.arange(len(texts)) % LEFT_OUT == 0
        penalty = PENALTIES[-1]
        if 0 < left_out.sum() < len(texts):
            inside, outside = (
                [t for t, out in zip(texts, left_out, strict=True) if out == o] for o in (0, 1)
            )
            rows, others, known = rows_of(inside), rows_of(outside), numbers[~left_out]
            rights = {
                each: (
                    scores(others, descend(rows, known, len(labels), each)).argmax(1) == numbers[left_out]
                ).mean()
                for each in PENALTIES
            }
            penalty = max(rights, key=lambda each: (rights[each], each))
        return cls(descend(rows_of(texts), numbers, len(labels), penalty), labels, penalty)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The likeliest label of each text."""
        numbers: list[int] = scores(rows_of(texts), self.weights).argmax(1).tolist()
        return [self.labels[i] for i in numbers]


def scores(rows: Rows, weights: Floats) -> Floats:
    """Log-odds up to a constant of each row, (rows, classes)."""
    return np.stack([rows.times(own) for own in weights], axis=1)


def descend(rows: Rows, wanted: np.ndarray, n_classes: int, penalty: float) -> Floats:
    """Weights that minimise the mean cross-entropy and penalty / 2 * |weights|², by Adam on all rows."""
    weights = np.zeros((n_classes, N_FEATURES))
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    truth = np.eye(n_classes)[wanted]
    for step in range(1, N_STEPS + 1):
        odds = scores(rows, weights)
        likely = np.exp(odds - odds.max(1, keepdims=True))
        pull = (likely / likely.sum(1, keepdims=True) - truth) / len(wanted)
        gradient = np.stack([rows.transposed_times(own) for own in pull.T]) + penalty * weights
        mean += 0.1 * (gradient - mean)
        square += 0.01 * (gradient**2 - square)
        rate = 0.1 * (1 - step / (N_STEPS + 1))
        weights -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return weights


def commonest(wanted: Sequence[str]) -> str:
    """The label that most examples have."""
    return Counter(wanted).most_common(1)[0][0]


def word_overlap(first: str, second: str) -> float:
    """Share of the words of two texts that both have, a Han character being one (Jaccard)."""
    a, b = set(UNIT.findall(first.lower())), set(UNIT.findall(second.lower()))
    return len(a & b) / len(a | b) if a | b else 0.0


def likeliest_sentence(question: str, passage: str) -> str:
    """The sentence of a passage that shares most words with a question; the first among equals."""
    asked = set(UNIT.findall(question.lower()))
    sentences = [each for each in split_sentences(passage) if each.strip()] or [passage]
    return max(sentences, key=lambda each: len(asked & set(UNIT.findall(each.lower())))).strip()


def split_sentences(text: str) -> list[str]:
    """Pieces that end where a sentence does; a dot ends one only before a blank."""
    pieces: list[str] = [""]
    for i, character in enumerate(text):
        pieces[-1] += character
        if character in "。！？!?\n" or (character == "." and text[i + 1 : i + 2].isspace()):
            pieces.append("")
    return pieces


class WordTags:
    """Each word's commonest tag; a word never met has none, and of Chinese a word is often a character."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.tags = tags

    @classmethod
    def fit(cls, sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> WordTags:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for words, own in zip(sentences, tags, strict=True):
            for word, tag in zip(words, own, strict=True):
                counts[word][tag] += 1
        return cls({word: found.most_common(1)[0][0] for word, found in counts.items()})

    def predict(self, words: Sequence[str]) -> list[str]:
        return [self.tags.get(word, "O") for word in words]
