"""A small model that guesses ahead: it changes how many steps are made, and nothing else."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from oracle import drain, expected, random_factors, run, tiny_model, with_updates
from test_engine import LONG, PROMPTS, MakeEngine, ask, fresh, make_engine, mixed_requests

from danlu.generate.engine import EngineConfig, PagedEngine
from danlu.generate.kernel import DecoderConfig
from danlu.generate.native import library
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.generate.speculation import Guessing
from danlu.model.heads import LanguageModel


def near(model: LanguageModel, amount: float) -> LanguageModel:
    """A model that mostly says what another does: the same weights with some noise."""
    other = LanguageModel(model.config)
    other.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * amount)
    return other.eval()


def guessing_engine(
    kernel: str, model: LanguageModel, draft: LanguageModel, **settings: object
) -> PagedEngine:
    decoder = DecoderConfig(kernel=kernel, exact=kernel == "torch")  # type: ignore[arg-type]
    config = EngineConfig(decoder=decoder, **{"n_draft": 3} | settings)  # type: ignore[arg-type]
    return PagedEngine(model, config, draft=draft)


@pytest.fixture(params=["native", "torch"])
def kernel(request: pytest.FixtureRequest) -> str:
    if request.param == "native" and library() is None:
        pytest.skip("no C compiler")
    return request.param


def test_a_request_gives_the_same_bits_whoever_guesses_and_in_any_company(kernel: str):
    model = tiny_model()
    plain: MakeEngine = partial(make_engine, kernel)
    requests = mixed_requests()
    alone = [run(plain(model), [fresh(request)])[0] for request in requests]
    crowds = {
        "itself": guessing_engine(kernel, model, model),
        "one that is near": guessing_engine(kernel, model, near(model, 0.05)),
        "one of another shape": guessing_engine(kernel, model, tiny_model(n_layers=1, d_model=16, n_heads=2)),
        "few rows and blocks": guessing_engine(
            kernel, model, near(model, 0.05), max_batch=3, cache_tokens=160, prefill_tokens=7, n_draft=5
        ),
    }
    for name, engine in crowds.items():
        for order in (requests, requests[::-1]):
            found = run(engine, [fresh(request) for request in order])
            for request, tokens in zip(order, found, strict=True):
                assert tokens == alone[requests.index(request)], (name, request)
        assert engine.n_guessed > 0
        assert engine.scheduler.blocks.n_free == engine.scheduler.blocks.n_blocks - 1


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_guesses_for_itself_is_always_right(kernel: str, temperature: float):
    """So what the small model has read is what stands in the text, after prefix hits and guesses too."""
    model = tiny_model()
    engine = guessing_engine(kernel, model, model, n_draft=4)
    for prompt in (LONG, [*LONG, 3, 1], LONG[:40]):
        n_steps, before = 0, engine.n_guessed
        engine.add(ask(prompt, temperature=temperature, max_new_tokens=31))
        while engine.n_unfinished:
            engine.step()
            n_steps += 1
        assert n_steps == 7  # 6 steps of 4 guesses and a token, and one for the last token
        assert engine.n_guessed - before == 24
    assert engine.n_right == engine.n_guessed


def test_the_less_a_model_is_like_the_other_the_fewer_guesses_are_right():
    model = tiny_model()
    shares: list[float] = []
    for draft in (model, near(model, 0.002), tiny_model(n_layers=1)):
        engine = guessing_engine("auto", model, draft)
        run(engine, [ask(PROMPTS[i % 5], i, max_new_tokens=40) for i in range(8)])
        shares.append(engine.n_right / engine.n_guessed)
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)


def test_requests_on_an_adapter_are_guessed_for_and_stay_what_they_are(kernel: str):
    model = tiny_model()
    adapted = with_updates(model, random_factors(model, 0))
    plain, engine = make_engine(kernel, model), guessing_engine(kernel, model, near(model, 0.05))
    for each in (plain, engine):
        each.load_adapter("a", adapted)
    requests = [ask(PROMPTS[4], i, adapter=(None, "a")[i % 2]) for i in range(4)]
    assert run(engine, requests) == run(plain, requests)


def test_greedy_tokens_with_guesses_are_those_of_the_plain_forward(kernel: str):
    model = tiny_model()
    engine = guessing_engine(kernel, model, near(model, 0.02))
    for prompt in PROMPTS:
        request = ask(prompt, temperature=0.0, max_new_tokens=30)
        (found,) = run(engine, [request])
        assert [token.id for token in found] == [token.id for token in expected(model, request)]


def test_pairs_of_tokens_come_as_often_as_the_model_says():
    """Pearson's chi-squared over the nine pairs of three likeliest tokens each, 4,000 draws."""
    model, n, prompt = tiny_model(), 4000, PROMPTS[2]
    engine = guessing_engine("auto", model, near(model, 0.05), max_batch=64)
    found = run(engine, [ask(prompt, key, top_k=3, max_new_tokens=3) for key in range(n)], most_steps=20_000)
    counts = Counter((tokens[0].id, tokens[1].id) for tokens in found)
    chances: dict[tuple[int, int], float] = {}
    for first, p in likeliest_three(model, prompt):
        chances |= {(first, second): p * q for second, q in likeliest_three(model, [*prompt, first])}
    assert sum(chances.values()) == pytest.approx(1, abs=1e-6)
    assert counts.keys() <= chances.keys()
    statistic = sum((counts[pair] - n * p) ** 2 / (n * p) for pair, p in chances.items())
    assert statistic < 33.4  # exceeded once in 20,000 times by chance, 8 degrees of freedom
    assert engine.n_right > 0


def likeliest_three(model: LanguageModel, ids: list[int]) -> list[tuple[int, float]]:
    with torch.inference_mode():
        top = model(torch.tensor([ids]))[0, -1].double().softmax(-1).topk(3)
    return [(int(i), float(p)) for i, p in zip(top.indices, top.values / top.values.sum(), strict=True)]


def test_a_draft_that_cannot_guess_is_refused():
    model = tiny_model()
    with pytest.raises(ValueError, match="knows 41 tokens and reads 160; it must know 40"):
        PagedEngine(model, EngineConfig(n_draft=2), draft=tiny_model(vocab_size=41))
    with pytest.raises(ValueError, match=r"reads 64; .* at least 160"):
        PagedEngine(model, EngineConfig(n_draft=2), draft=tiny_model(max_seq_len=64))
    with pytest.raises(ValueError, match="n_draft is 0"):
        PagedEngine(model, draft=model)


def test_a_draft_of_broken_weights_costs_guesses_and_no_token():
    model, broken = tiny_model(), tiny_model(n_layers=1)
    with torch.no_grad():
        broken.lm_head.weight.fill_(float("nan"))
    request = ask(PROMPTS[0], max_new_tokens=20)
    engine = PagedEngine(model, EngineConfig(n_draft=3, decoder=DecoderConfig(verify=False)), draft=broken)
    assert run(engine, [request]) == run(PagedEngine(model), [request])


@pytest.mark.parametrize("draft", [None, "near"])
def test_a_sampler_tells_every_token_of_a_step(draft: str | None):
    model = tiny_model()
    guessing = Guessing(n_draft=4, draft=None if draft is None else near(model, 0.01))
    sampling = SamplingConfig(max_new_tokens=40, temperature=0.0)
    plain = Sampler(model, stop_ids=()).generate([[1, 2, 3]], sampling)
    sampler = Sampler(model, stop_ids=(), guessing=guessing)
    sequence, told = sampler.add([1, 2, 3], sampling, "0/0"), list[tuple[int, int, float]]()
    while sampler.n_unfinished:
        told += sampler.step()
    completion = sampler.take(sequence)
    assert completion is not None
    assert [token for _, token, _ in told] == list(completion.ids) == list(plain[0].ids)
    assert [logprob for _, _, logprob in told] == list(completion.logprobs)
    assert np.isfinite(completion.logprobs).all()


def test_cancelling_in_the_midst_of_guesses_frees_everything():
    model = tiny_model()
    engine = guessing_engine("auto", model, near(model, 0.02))
    first, second = (engine.add(ask(PROMPTS[i], max_new_tokens=30)) for i in range(2))
    engine.step()
    engine.cancel(first)
    assert {event.request_id for event in drain(engine)} <= {second}
    assert engine.scheduler.blocks.n_free == engine.scheduler.blocks.n_blocks - 1
