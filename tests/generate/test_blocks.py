from __future__ import annotations

import pytest

from danlu.generate.blocks import BlockManager, next_digest, root_digest

ROOT = root_digest("")
FIRST = list(range(32))


def manager(n_blocks: int = 5, *, keep: bool = True) -> BlockManager:
    return BlockManager(n_blocks, 32, keep=keep)


def test_block_0_is_never_given_away():
    blocks = manager(4)
    assert sorted(blocks.take() for _ in range(3)) == [1, 2, 3]
    assert blocks.n_free == 0


def test_a_published_block_is_found_by_its_tokens_and_all_before_them():
    blocks = manager()
    block, digest = blocks.take(), next_digest(ROOT, FIRST)
    blocks.publish(block, ROOT, FIRST, digest)
    assert blocks.find(digest) == block
    assert blocks.find(next_digest(ROOT, [*FIRST[:-1], 99])) is None
    assert blocks.find(next_digest(root_digest("salt"), FIRST)) is None
    assert blocks.find(next_digest(next_digest(ROOT, FIRST), FIRST)) is None


def test_a_block_is_free_only_when_its_last_holder_has_left():
    blocks = manager(3)
    block = blocks.take()
    blocks.publish(block, ROOT, FIRST, next_digest(ROOT, FIRST))
    blocks.hold(block)
    blocks.release([block])
    assert blocks.n_free == 1
    blocks.release([block])
    assert blocks.n_free == 2


def test_what_was_left_longest_ago_is_taken_first_and_of_one_sequence_its_end():
    blocks, digests, held = manager(6), [], []
    for start in range(5):
        parent = digests[-1] if start in (1, 2) else root_digest(str(start))
        ids = [start] * 32
        digests.append(next_digest(parent, ids))
        held.append(blocks.take())
        blocks.publish(held[-1], parent, ids, digests[-1])
    blocks.release(held[3:4])
    blocks.release(held[:3])
    blocks.release(held[4:])
    gone = []
    for _ in range(5):
        blocks.take()
        lost = [i for i, digest in enumerate(digests) if blocks.find(digest) is None]
        gone += [i for i in lost if i not in gone]
    assert gone == [3, 2, 1, 0, 4]


def test_a_block_held_again_is_not_taken():
    blocks = manager(3)
    digest = next_digest(ROOT, FIRST)
    block = blocks.take()
    blocks.publish(block, ROOT, FIRST, digest)
    blocks.release([block])
    assert blocks.is_idle(block)
    blocks.hold(block)
    other = blocks.take()
    assert other != block
    assert blocks.n_free == 0
    assert blocks.find(digest) == block


def test_without_keeping_nothing_is_found_after_its_last_holder():
    blocks = manager(keep=False)
    block, digest = blocks.take(), next_digest(ROOT, FIRST)
    blocks.publish(block, ROOT, FIRST, digest)
    blocks.release([block])
    assert blocks.find(digest) is None
    assert blocks.find_beginning(ROOT, FIRST) == (0, 0)
    assert blocks.take() == block  # memory touched already


def test_the_longest_equal_beginning_is_found():
    blocks = manager(6)
    texts = [[*FIRST[:20], *[77] * 12], [*FIRST[:25], *[77] * 7], FIRST[:18], [5, *FIRST[1:]]]
    held = []
    for ids in texts:
        held.append(blocks.take())
        blocks.publish(held[-1], ROOT, ids)
    assert blocks.find_beginning(ROOT, FIRST) == (held[1], 25)
    assert blocks.find_beginning(next_digest(ROOT, FIRST), FIRST) == (0, 0)
    assert blocks.find_beginning(ROOT, [5, 6]) == (0, 0)  # too little to be worth copying


def test_the_same_text_twice_is_found_once_and_the_second_block_is_blank_when_left():
    blocks, digest = manager(4), next_digest(ROOT, FIRST)
    one, other = blocks.take(), blocks.take()
    blocks.publish(one, ROOT, FIRST[:20])
    blocks.publish(other, ROOT, FIRST[:20])
    blocks.publish(one, ROOT, FIRST, digest)
    blocks.publish(other, ROOT, FIRST, digest)
    blocks.release([other])
    assert not blocks.is_idle(other)
    blocks.release([one])
    assert blocks.find(digest) == one


def test_forgetting_makes_everything_unfindable_and_loses_no_block():
    blocks, digest = manager(4), next_digest(ROOT, FIRST)
    held, idle = blocks.take(), blocks.take()
    blocks.publish(held, ROOT, FIRST, digest)
    blocks.publish(idle, digest, FIRST)
    blocks.release([idle])
    blocks.forget()
    assert blocks.find(digest) is None
    assert blocks.find_beginning(digest, FIRST) == (0, 0)
    assert blocks.n_free == 2
    blocks.release([held])
    assert sorted(blocks.take() for _ in range(3)) == [1, 2, 3]


def test_too_few_blocks_are_refused():
    with pytest.raises(ValueError, match="n_blocks is 1"):
        BlockManager(1, 32)
