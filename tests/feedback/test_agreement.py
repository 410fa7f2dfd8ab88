"""Agreement against published worked examples and values computed by hand."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.feedback.agreement import (
    Judged,
    agreement,
    by_pairs_of_people,
    krippendorff_alpha,
    noise,
    ranking_alpha,
    standing,
)

# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability: section A (binary, two observers), B (names,
# two observers), C and D (four observers, twelve units, values missing).
BINARY = ("0100000010", "1110010000")
NAMES = ("aabbdcccedda", "babbbcccedd" + "d")
NUMBERS = ("123321411".ljust(12), "")
FOUR = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
UNITS = [[value for value in unit if value is not None] for unit in zip(*FOUR, strict=True)]


def of_letters(*observers: str) -> list[list[int]]:
    return [[ord(value) for value in unit] for unit in zip(*observers, strict=True)]
