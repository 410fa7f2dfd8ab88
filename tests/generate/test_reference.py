"""The reference engine against arithmetic by hand and against the sampler."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from danlu.generate.reference import ReferenceEngine
from danlu.generate.request import Event, Request
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.generate.shaping import shape
from danlu.model.config import ModelConfig, PatchConfig
from danlu.model.heads import LanguageModel
from danlu.model.vocabulary import with_eye

GREEDY = SamplingConfig(max_new_tokens=12, temperature=0)
WARM = SamplingConfig(max_new_tokens=12, temperature=1.3, top_k=20, top_p=0.9, seed=5)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    config = ModelConfig(
        vocab_size=40,
        d_model=16,
        n_layers=2,
        n_heads=2,
        n_kv_heads=1,
        head_dim=8,
        d_ff=16,
        max_seq_len=48,
    )
    return LanguageModel(config, seed=3).eval()


def run(engine: ReferenceEngine, *requests: Request) -> list[list[Event]]:
    numbers = [engine.add(request) for request in requests]
    events: list[Event] = []
    while engine.n_unfinished:
        events += engine.step()
    return [[event for event in events if event.request_id == number] for number in numbers]


def ids(events: list[Event]) -> list[int]:
    return [event.token.id for event in events if event.token is not None]


def request(*prompt: int, **changes: object) -> Request:
    return replace(Request(prompt_ids=prompt, sampling=GREEDY), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_draws_what_the_sampler_draws(model: LanguageModel, sampling: SamplingConfig):
    prompts = [(1, 2, 3), (4,), (5, 6, 7, 8)]
    sampler = Sampler(model, stop_ids={0}, kernel="torch")
    theirs = sampler.generate(prompts, sampling, keys=["a", "b", "c"])
    requests = [
        request(*prompt, sampling=sampling, stop_ids=frozenset({0}), key=f"{key}/0")
        for prompt, key in zip(prompts, "abc", strict=True)
    ]
    ours = run(ReferenceEngine(model), *requests)
    assert [tuple(ids(events)) for events in ours] == [each.ids for each in theirs]
    assert [events[-1].end_reason for events in ours] == [each.finish_reason for each in theirs]


def test_neighbours_change_nothing(model: LanguageModel):
    one = request(1, 2, 3, sampling=WARM, n_top=3, prompt_logprobs=True)
    (alone,) = run(ReferenceEngine(model), one)
    beside, _ = run(ReferenceEngine(model), one, request(9, 9, sampling=WARM, key=1))
    assert [replace(event, request_id=0) for event in alone] == [
        replace(event, request_id=0) for event in beside
    ]


def test_logprobs_are_the_models_own_whatever_shapes_the_draw(model: LanguageModel):
    shaped = request(
        1,
        2,
        3,
        sampling=WARM,
        frequency_penalty=1.5,
        logit_bias={7: 3.0},
        forbidden_ids=frozenset({1}),
        prompt_logprobs=True,
        n_top=2,
    )
    (events,) = run(ReferenceEngine(model), shaped)
    whole = [1, 2, 3, *ids(events)]
    with torch.inference_mode():
        logprobs = model(tensor([whole]))[0].log_softmax(-1)
    tokens = [*events[0].prompt, *(event.token for event in events if event.token is not None)]
    assert [token.id for token in tokens] == whole
    assert tokens[0].logprob is None
    for place, token in enumerate(tokens[1:]):
        assert token.logprob == pytest.approx(float(logprobs[place, token.id]), abs=1e-5)
        top = logprobs[place].topk(2)
        assert [i for i, _ in token.top] == top.indices.tolist()
        assert_close(tensor([p for _, p in token.top]), top.values, atol=1e-5, rtol=0)


def test_the_likeliest_token_has_one_float_wherever_it_stands(model: LanguageModel):
    (events,) = run(ReferenceEngine(model), request(1, 2, n_top=1))
    for event in events:
        assert event.token is not None
        assert event.token.top == ((event.token.id, event.token.logprob),)


def test_penalties_are_openais(model: LanguageModel):
    logits = tensor([1.0, 1.0, 1.0, 1.0])
    shaped = shape(logits, {1: 3, 2: 1}, presence_penalty=0.5, frequency_penalty=0.25, logit_bias={3: -2.0})
    assert_close(shaped, tensor([1.0, 1 - 0.5 - 0.75, 1 - 0.5 - 0.25, -1.0]))
    assert_close(logits, tensor([1.0, 1.0, 1.0, 1.0]))  # a copy was changed
    (events,) = run(ReferenceEngine(model), request(1, 2, frequency_penalty=1000.0))
    assert len(set(ids(events))) == len(ids(events)) == 12  # nothing comes twice


def test_the_prompt_counts_towards_no_penalty(model: LanguageModel):
    wanted = request(1, 2, 3, logit_bias={2: 50.0}, presence_penalty=1000.0)
    (events,) = run(ReferenceEngine(model), wanted)
    assert ids(events)[0] == 2  # which stands in the prompt
    assert 2 not in ids(events)[1:]


def test_a_bias_decides_and_a_ban_forbids(model: LanguageModel):
    (biased,) = run(ReferenceEngine(model), request(1, logit_bias={11: 100.0}))
    assert set(ids(biased)) == {11}
    (banned,) = run(ReferenceEngine(model), request(1, logit_bias={11: 100.0}, forbidden_ids=frozenset({11})))
    assert 11 not in ids(banned)


class Countdown:
    """Allows 20, then 19, and so on."""

    def __init__(self, start: int) -> None:
        self.next = start

    def allow(self, logits: Tensor) -> None:
        kept = logits[self.next].clone()
        logits.fill_(-torch.inf)
        logits[self.next] = kept

    def accept(self, token_id: int) -> None:
        assert token_id == self.next
        self.next -= 1


def test_a_filter_decides_each_token(model: LanguageModel):
    (events,) = run(ReferenceEngine(model), request(1, token_filter=Countdown(20), sampling=WARM))
    assert ids(events) == list(range(20, 8, -1))


def test_a_request_to_which_nothing_is_left_fails_alone(model: LanguageModel):
    stuck = request(1, token_filter=Countdown(20), forbidden_ids=frozenset({18}))
    failed, other = run(ReferenceEngine(model), stuck, request(1))
    assert ids(failed) == [20, 19]
    assert failed[-1].end_reason == "error"
    assert "leave none" in failed[-1].error
    assert len(ids(other)) == 12


def test_diverged_weights_are_an_error_of_the_request(model: LanguageModel):
    broken = LanguageModel(model.config, seed=3).eval()
    with torch.no_grad():
        broken.lm_head.weight[0, 0] = torch.nan
    ((event,),) = run(ReferenceEngine(broken), request(1))
    assert (event.end_reason, event.token) == ("error", None)
    assert "not finite" in event.error


def test_ends_at_the_context_and_at_a_stop(model: LanguageModel):
    (full,) = run(ReferenceEngine(model, max_seq_len=8), request(1, 2, 3, 4, 5))
    assert len(ids(full)) == 3
    assert full[-1].end_reason == "length"
    stop = ids(full)[1]
    (stopped,) = run(ReferenceEngine(model), request(1, 2, 3, 4, 5, stop_ids=frozenset({stop})))
    assert stopped[-1].end_reason == "stop"
    assert ids(stopped)[-1] == stop


def test_a_cancelled_request_is_heard_of_no_more(model: LanguageModel):
    engine = ReferenceEngine(model)
    first, second = engine.add(request(1)), engine.add(request(2))
    engine.step()
    engine.cancel(first)
    assert {event.request_id for event in engine.step()} == {second}
    engine.cancel(second)
    assert (engine.step(), engine.n_unfinished) == ([], 0)


def test_an_adapter_is_another_model(model: LanguageModel):
    other = LanguageModel(model.config, seed=4).eval()
    engine = ReferenceEngine(model, adapters={"other": other})
    plain, adapted = run(engine, request(1), request(1, adapter="other"))
    (alone,) = run(ReferenceEngine(other), request(1))
    assert ids(adapted) == ids(alone) != ids(plain)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (request(), "the prompt is empty"),
        (request(*[1] * 48), "shorten the prompt"),
        (request(40), "holds id 40"),
        (request(-1), "holds id -1"),
        (request(1, logit_bias={40: 1.0}), "names id 40"),
        (request(1, logit_bias={1: math.nan}), "logit_bias of 1 is nan"),
        (request(1, presence_penalty=math.inf), "presence_penalty is inf"),
        (request(1, min_p=1.5), "min_p is 1.5"),
        (request(1, n_top=41), "n_top is 41"),
        (request(1, adapter="none such"), "there is no adapter"),
    ],
)
def test_what_cannot_be_done_is_refused(model: LanguageModel, wrong: Request, message: str):
    engine = ReferenceEngine(model)
    with pytest.raises(ValueError, match=message):
        engine.add(wrong)
    assert engine.n_unfinished == 0


SIZES = PatchConfig(side=4, patch=2, d_model=8, n_layers=1, n_heads=2, d_ff=8)
SEEN = tensor([[[[0, 100, 200]] * 4] * 4, [[[250, 10, 90]] * 4] * 4], dtype=torch.uint8)


@pytest.fixture(scope="module")
def seeing(model: LanguageModel) -> LanguageModel:
    """With an encoder whose pictures weigh as much as tokens do; 40 is the marker."""
    grown = with_eye(copy.deepcopy(model), SIZES, seed=2).eval()
    eye = grown.backbone.eye
    assert eye is not None
    with torch.no_grad():
        eye.project.weight.mul_(3)
    return grown


def test_a_prompt_with_pictures_is_continued_as_the_forward_says(seeing: LanguageModel):
    prompt = (1, *[40] * 4, 2, *[40] * 4, 3)
    sampling = replace(GREEDY, max_new_tokens=5)
    told = request(*prompt, pictures=SEEN, sampling=sampling)
    swapped = request(*prompt, pictures=SEEN.flip(0), sampling=sampling)
    together = run(ReferenceEngine(seeing), told, swapped, request(1, 2, 3, sampling=sampling))
    for shown, events in ((SEEN, together[0]), (SEEN.flip(0), together[1])):
        row = list(prompt)
        patches = seeing.backbone.look(shown)
        for event in events:
            logits = seeing(tensor([row]), patches=patches)[0, -1]
            logits[40] = -math.inf  # a marker without a picture
            assert event.token is not None
            assert event.token.id == int(logits.argmax())
            row.append(event.token.id)
    first = [events[0].token.logprob for events in together[:2] if events[0].token]
    assert abs(first[0] - first[1]) > 1e-4


@pytest.mark.parametrize(
    ("prompt", "pictures", "message"),
    [
        (
            (1, 40, 40, 40, 40),
            None,
            "the prompt has 4 markers of pictures for 0 pictures; each picture has 4",
        ),
        (
            (1, 40, 40, 40, 40),
            SEEN,
            "the prompt has 4 markers of pictures for 2 pictures; each picture has 4",
        ),
        ((1, 2), SEEN[:1], "the prompt has 0 markers of pictures for 1 pictures"),
        ((1, 40, 40, 40, 40), SEEN[:1, :3], r"the pictures are \(1, 3, 4, 3\); they must be \(n, 4, 4, 3\)"),
    ],
)
def test_pictures_without_their_markers_are_refused(seeing: LanguageModel, prompt, pictures, message):
    with pytest.raises(ValueError, match=message):
        ReferenceEngine(seeing).add(request(*prompt, pictures=pictures))


def test_a_model_that_reads_text_only_refuses_pictures(model: LanguageModel):
    with pytest.raises(ValueError, match="the request holds pictures, and the model reads text only"):
        ReferenceEngine(model).add(request(1, 2, pictures=SEEN))
