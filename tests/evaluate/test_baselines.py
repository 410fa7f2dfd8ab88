"""The compressor and the counts of bytes, against numbers worked by hand."""

import lzma
import math

import numpy as np
import pytest

from danlu.evaluate.baselines import (
    ByteNgrams,
    codes,
    mask,
    ngram_bits_per_byte,
    xz_bits_per_byte,
)


def probability(model, context, byte):
    """Of one byte after a context of order - 1 bytes."""
    gram = int.from_bytes(context + byte, "big")
    return float(model.probabilities(np.array([gram], dtype=np.uint64))[0])


def test_one_order_is_discounted_counts_and_the_uniform():
    model = ByteNgrams(["aab", "ab"], order=1)
    # a 3, b 2, end 2; nothing came once, so the discount is 1/2, and 3 kinds give 3/2 to the uniform.
    assert probability(model, b"", b"a") == pytest.approx(2.5 / 7 + 1.5 / 7 / 256)
    assert probability(model, b"", b"\0") == pytest.approx(1.5 / 7 + 1.5 / 7 / 256)
    assert probability(model, b"", b"z") == pytest.approx(1.5 / 7 / 256)


def test_a_shorter_order_counts_different_predecessors():
    model = ByteNgrams(["aab", "ab"], order=2)
    # Pairs: ^a 2, aa 1, ab 2, b$ 2, so the discount is 1 / (1 + 2 * 3). Predecessors: a has ^ and a, b has a,
    # the end has b; one of them twice, two once: the discount below is 2 / (2 + 2).
    lower = 0.5 / 4 + 0.5 * 3 / 4 / 256
    assert probability(model, b"a", b"b") == pytest.approx((2 - 1 / 7) / 3 + 1 / 7 * 2 / 3 * lower)
    # After z nothing is known, and the shorter order decides.
    assert probability(model, b"z", b"b") == pytest.approx(lower)


def test_probabilities_after_any_context_sum_to_one():
    model = ByteNgrams(["the cat sat on the mat", "天上有云，天下有雨"] * 2, order=4)
    for context in (b"the", b" ca", "天".encode(), b"zzz", b"\0\0\0"):
        assert sum(probability(model, context, bytes([byte])) for byte in range(256)) == pytest.approx(1)


def test_a_context_never_reaches_into_the_document_before():
    assert codes("ab", 3).tolist() == [0x61, 0x6162, 0x616200]
    first = ByteNgrams(["ab", "cd"], order=3)
    second = ByteNgrams(["cd", "ab"], order=3)
    assert first.bits("abcd") == pytest.approx(second.bits("abcd"))


def test_bits_of_a_language_are_its_own_and_all_is_the_mean_over_bytes():
    train = ["aaaa bbbb"] * 20
    held_out = {"en": ["aaaa"], "zh": ["中中中中"]}
    rates = ngram_bits_per_byte(train, held_out, order=3)
    model = ByteNgrams(train, order=3)
    assert rates["en"] == pytest.approx(model.bits("aaaa") / 4)
    assert rates["all"] == pytest.approx((model.bits("aaaa") + model.bits("中中中中")) / 16)
    assert rates["en"] < 4 < rates["zh"]
    # A byte that was never seen costs at least the eight bits of the uniform.
    assert rates["zh"] > 8


def test_text_seen_before_costs_a_compressor_less():
    rng = np.random.default_rng(0)
    text = "".join(map(chr, rng.integers(97, 123, 4000)))
    alone, known = xz_bits_per_byte([text]), xz_bits_per_byte([text], before=["x", text, "y"])
    assert alone == pytest.approx(8 * len(lzma.compress(f"{text}\n".encode(), preset=9)) / 4000)
    assert math.log2(26) < alone < 1.15 * math.log2(26)
    assert known < 0.2


def test_masks_and_orders_fit_into_64_bits():
    assert int(mask(8)) == 2**64 - 1
    assert ByteNgrams(["abcdefghij"] * 3, order=8).bits("abcdefghij") < 20
    with pytest.raises(ValueError, match="order is 9; it must be from 1 to 8"):
        ByteNgrams(["a"], order=9)
