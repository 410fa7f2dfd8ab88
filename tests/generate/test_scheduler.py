from __future__ import annotations

from danlu.generate.blocks import BlockManager, root_digest
from danlu.generate.request import Request
from danlu.generate.sampling import SamplingConfig
from danlu.generate.scheduler import Scheduler, Stream

SIZE = 32


def scheduler(n_blocks: int, *, max_batch: int = 4, max_blocks: int = 4) -> Scheduler:
    return Scheduler(BlockManager(n_blocks + 1, SIZE), max_batch=max_batch, max_blocks=max_blocks)


def stream(number: int, ids: list[int], salt: str = "") -> Stream:
    request = Request(prompt_ids=tuple(ids), sampling=SamplingConfig())
    return Stream(number, request, [0.5] * 64, ids, root_digest(salt), len(ids))


def read_all(plan: Scheduler, budget: int = 10_000) -> list[list[tuple[int, int]]]:
    """Wave by wave, who read how many tokens."""
    waves = []
    while wave := plan.next_wave(budget):
        for each, n in wave.reads:
            plan.has_read(each, n)
            if not each.n_unread:
                plan.publish_tail(each)
        waves.append([(each.id, n) for each, n in wave.reads])
    return waves


def draw(plan: Scheduler, token: int = 7) -> list[int]:
    """Give everybody who is ready a token; who that was."""
    ready = plan.ready()
    for each in ready:
        each.ids.append(token)
        plan.has_read(each, 1)
    return [each.id for each in ready]


def test_first_come_first_served_as_rows_allow():
    plan = scheduler(16, max_batch=2)
    for number in range(1, 4):
        plan.add(stream(number, [number] * 10))
    assert read_all(plan) == [[(1, 9), (2, 9)]]
    assert draw(plan) == [1, 2]
    plan.remove(plan.running[0])
    assert read_all(plan) == [[(3, 9)]]
    assert [each.id for each in plan.running] == [2, 3]


def test_a_long_prompt_is_read_in_parts_and_others_decode_meanwhile():
    plan = scheduler(16)
    plan.add(stream(1, [1] * 10))
    plan.add(stream(2, [2] * 100))
    parts = []
    for _ in range(4):
        wave = plan.next_wave(30)
        for each, n in wave.reads:
            plan.has_read(each, n)
        parts.append([(each.id, n) for each, n in wave.reads])
        if len(parts) < 4:
            assert draw(plan) == [1]
    assert parts == [[(1, 9), (2, 21)], [(2, 30)], [(2, 30)], [(2, 18)]]
    assert draw(plan) == [1, 2]


def test_completions_of_one_prompt_read_it_once():
    plan = scheduler(16)
    for number in range(1, 5):
        plan.add(stream(number, list(range(50))))
    assert read_all(plan) == [[(1, 49)], []]
    assert plan.blocks.n_free == 16 - (2 + 1 + 1 + 1)  # the first block is common to all
    tables = plan.tables[[each.row for each in plan.running]]
    assert len(set(tables[:, 0])) == 1
    assert len(set(tables[:, 1])) == 4


def test_what_was_read_once_is_copied_as_far_as_it_is_the_same():
    plan = scheduler(16)
    plan.add(stream(1, list(range(60))))
    read_all(plan)
    plan.add(stream(2, [*range(55), 0, 0, 0]))
    wave = plan.next_wave(100)
    source, target = plan.running[0].blocks[1], plan.running[1].blocks[1]
    assert wave.copies == [(source, target, 55 - 32)]
    assert [(each.id, n) for each, n in wave.reads] == [(2, 57 - 55)]


def test_another_salt_shares_nothing():
    plan = scheduler(16)
    plan.add(stream(1, list(range(50))))
    plan.add(stream(2, list(range(50)), salt="other"))
    assert read_all(plan) == [[(1, 49), (2, 49)]]


def test_whose_prompt_is_judged_reads_it_all():
    plan = scheduler(16)
    plan.add(stream(1, list(range(50))))
    read_all(plan)
    judged = stream(2, list(range(50)))
    judged.prompt = []
    plan.add(judged)
    assert read_all(plan) == [[(2, 49)]]


def test_the_youngest_gives_way_and_finds_its_text_again():
    plan = scheduler(5)
    plan.add(stream(1, [1] * 63))
    plan.add(stream(2, [2] * 33))
    read_all(plan)
    plan.add(stream(3, [3] * 10))
    assert read_all(plan) == []  # there is one block left, but those who run will need it
    older, younger = plan.running
    # The 32nd token of the younger ends its second block, when the older has its third.
    assert [draw(plan) for _ in range(33)] == [[1, 2]] * 32 + [[1]]
    assert [each.id for each in plan.waiting] == [2, 3]
    assert (younger.row, younger.blocks, younger.n_read) == (-1, [], 0)
    plan.remove(older)
    assert read_all(plan) == [[(3, 9)]]  # two full blocks of the younger's were still there
    assert younger.n_read == 64
    assert draw(plan) == [2, 3]


def test_a_stream_alone_always_has_room_to_the_end_of_the_context():
    plan = scheduler(4, max_blocks=4)
    plan.add(stream(1, [1] * 100))
    read_all(plan)
    while len(plan.running[0].ids) < 4 * SIZE:
        assert draw(plan) == [1]
    plan.remove(plan.running[0])
    assert plan.blocks.n_free == 4


def test_guesses_have_room_only_where_nobody_must_give_way():
    plan = scheduler(3, max_blocks=3)
    plan.add(stream(1, [1] * 30))
    plan.add(stream(2, [2] * 30))
    read_all(plan)
    one, two = plan.ready()
    assert plan.room_for(one, 10) == 10
    assert plan.room_for(two, 10) == 2
