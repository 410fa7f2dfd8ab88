from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from oracle import (
    VOCAB,
    OnlyMultiples,
    drain,
    expected,
    merged,
    random_factors,
    run,
    tiny_model,
    with_updates,
)

from danlu.adapters.attach import attach
from danlu.adapters.settings import AdapterConfig, VirtualTokens
from danlu.adapters.sharing import twin
from danlu.config import ConfigError
from danlu.generate.engine import EngineConfig, PagedEngine
from danlu.generate.kernel import DecoderConfig
from danlu.generate.native import NativeDecoder, library
from danlu.generate.reference import ReferenceEngine
from danlu.generate.request import Request
from danlu.generate.sampling import SamplingConfig
from danlu.model.adapted import places
from danlu.model.heads import LanguageModel

LONG = [(7 * i * i + i) % VOCAB for i in range(70)]
PROMPTS = [[5, 9, 2], [7], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [30, 30], LONG]
WINDOWED = {"window": 20, "attention_pattern": ("window", "full")}
MakeEngine = Callable[..., PagedEngine]


def make_engine(kernel: str, model: LanguageModel, **settings: object) -> PagedEngine:
    decoder = DecoderConfig(kernel=kernel, exact=kernel == "torch")  # type: ignore[arg-type]
    return PagedEngine(model, EngineConfig(decoder=decoder, **settings))  # type: ignore[arg-type]


@pytest.fixture(params=["native", "torch"])
def engine_for(request: pytest.FixtureRequest) -> MakeEngine:
    """Both kernels must keep every promise, the model's own forward in its exact mode."""
    if request.param == "native" and library() is None:
        pytest.skip("no C compiler")
    return partial(make_engine, request.param)


def ask(prompt: list[int], key: int = 0, **settings: object) -> Request:
    known = {"max_new_tokens", "temperature", "top_k", "top_p", "seed"}
    sampling = {name: value for name, value in settings.items() if name in known}
    rest = {name: value for name, value in settings.items() if name not in known}
    config = SamplingConfig(**{"max_new_tokens": 12} | sampling)
    return Request(prompt_ids=tuple(prompt), sampling=config, key=key, **rest)


KNOBS = [
    {"temperature": 0.0},
    {"temperature": 0.7},
    {"top_k": 5},
    {"top_p": 0.6},
    {"min_p": 0.2},
    {"temperature": 1.5, "top_k": 12, "top_p": 0.9, "min_p": 0.05},
    {"presence_penalty": 1.5},
    {"frequency_penalty": 0.8, "temperature": 0.0},
    {"presence_penalty": -2.0, "frequency_penalty": 0.3, "top_p": 0.9},
    {"logit_bias": {3: 4.0, 8: -100.0}},
    {"forbidden_ids": frozenset(range(0, 40, 3)), "temperature": 0.0},
    {"forbidden_ids": frozenset(range(20)), "logit_bias": {25: 3.0}, "top_k": 4, "frequency_penalty": 1.0},
    {"stop_ids": frozenset(range(0, 40, 4))},
    {"token_filter": OnlyMultiples(3)},
    {"token_filter": OnlyMultiples(2), "temperature": 0.0, "logit_bias": {6: 2.0}},
    {"n_top": 4, "top_k": 3},
]


@pytest.mark.parametrize("knob", KNOBS, ids=str)
def test_every_knob_gives_what_the_plain_forward_gives(engine_for: MakeEngine, knob: dict[str, object]):
    model = tiny_model()
    engine = engine_for(model)
    for key, prompt in enumerate(PROMPTS[2:]):
        request = ask(prompt, key, **knob)
        wanted = expected(model, request)
        (found,) = run(engine, [fresh(request)])
        assert [token.id for token in found] == [token.id for token in wanted]
        for one, other in zip(found, wanted, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert [i for i, _ in one.top] == [i for i, _ in other.top]
            assert [p for _, p in one.top] == pytest.approx([p for _, p in other.top], abs=1e-4)


def fresh(request: Request) -> Request:
    """The same with a filter that has seen nothing."""
    if request.token_filter is None:
        return request
    assert isinstance(request.token_filter, OnlyMultiples)
    return replace(request, token_filter=OnlyMultiples(request.token_filter.of))


def mixed_requests() -> list[Request]:
    """All knobs, on prompts that begin alike and on others."""
    shared = [(3 * i) % 37 for i in range(45)]
    prompts = [shared, [*shared, 1, 2, 3], shared[:40], [*shared[:33], 9], [2], PROMPTS[2]]
    return [ask(prompts[i % len(prompts)], i, seed=4, **knob) for i, knob in enumerate(KNOBS)]


def test_a_request_gives_the_same_bits_alone_and_in_any_company(engine_for: MakeEngine):
    model = tiny_model()
    requests = mixed_requests()
    alone = [run(engine_for(model), [fresh(request)])[0] for request in requests]
    crowds = {
        "together": engine_for(model, max_batch=32),
        "few rows": engine_for(model, max_batch=3),
        "few blocks": engine_for(model, max_batch=8, cache_tokens=192),
        "in parts": engine_for(model, prefill_tokens=7),
        "guessing": engine_for(model, n_draft=4),
        "nothing kept": engine_for(model, max_batch=5, keep_prefixes=False),
    }
    for name, engine in crowds.items():
        for order in (requests, requests[::-1]):  # the second time most is in the cache
            found = run(engine, [fresh(request) for request in order])
            for request, tokens in zip(order, found, strict=True):
                assert tokens == alone[requests.index(request)], (name, request)
        assert engine.scheduler.blocks.n_free == engine.scheduler.blocks.n_blocks - 1


def test_requests_give_way_and_come_back_unchanged(engine_for: MakeEngine):
    model = tiny_model()
    engine = engine_for(model, max_batch=4, cache_tokens=160)
    requests = [ask([i, 2 * i], i, max_new_tokens=70) for i in range(4)]
    alone = [run(engine_for(model), [request])[0] for request in requests]
    gone: set[int] = set()
    ids = [engine.add(request) for request in requests]
    tokens = {i: [] for i in ids}
    while engine.n_unfinished:
        running = {stream.id for stream in engine.scheduler.running}
        for event in engine.step():
            tokens[event.request_id].append(event.token)
        gone |= running & {stream.id for stream in engine.scheduler.waiting}
    assert gone  # or nothing was tested
    assert [tokens[i] for i in ids] == alone


def test_adapters_change_only_those_who_ask_for_them(engine_for: MakeEngine):
    model = tiny_model()
    factors = {name: random_factors(model, seed) for seed, name in enumerate(("a", "b"))}
    engine = engine_for(model)
    for name, each in factors.items():
        engine.load_adapter(name, with_updates(model, each))
    requests = [ask(PROMPTS[4], i, adapter=(None, "a", "b")[i % 3], max_new_tokens=8) for i in range(6)]
    found = run(engine, requests)
    plain = engine_for(model)
    models = {None: model} | {name: merged(model, each) for name, each in factors.items()}
    for request, tokens in zip(requests, found, strict=True):
        assert run(engine, [request]) == [tokens]
        if request.adapter is None:
            assert run(plain, [request]) == [tokens]
        wanted = expected(models[request.adapter], request)
        assert [token.id for token in tokens] == [token.id for token in wanted]
        assert [t.logprob for t in tokens] == pytest.approx([t.logprob for t in wanted], abs=1e-4)


def test_an_adapter_may_update_few_layers_and_is_replaced_by_one_of_its_name(engine_for: MakeEngine):
    model = tiny_model()
    every = random_factors(model, 0)
    few = {name: every[name] for name in list(every)[3:5]}
    engine = engine_for(model)
    request = ask(PROMPTS[4], adapter="a")
    for factors in (every, few):
        engine.load_adapter("a", with_updates(model, factors))
        (tokens,) = run(engine, [request])
        wanted = expected(merged(model, factors), request)
        assert [t.logprob for t in tokens] == pytest.approx([t.logprob for t in wanted], abs=1e-4)


def test_adapters_are_refused_by_name(engine_for: MakeEngine):
    model = tiny_model()
    engine = engine_for(model)
    with pytest.raises(ValueError, match="there is no adapter 'a'; adapters are: none"):
        engine.add(ask([1], adapter="a"))
    with pytest.raises(ValueError, match="adapter 'a' is of another model"):
        engine.load_adapter("a", tiny_model(d_ff=64))
    engine.load_adapter("a", with_updates(model, random_factors(model, 0)))
    engine.add(ask([1], adapter="a"))
    with pytest.raises(ValueError, match="in use by request 1"):
        engine.unload_adapter("a")
    drain(engine)
    engine.unload_adapter("a")
    assert engine.adapters == ()


def test_prompt_logprobs_are_those_of_one_forward_and_of_the_completion(engine_for: MakeEngine):
    model = tiny_model()
    engine = engine_for(model, prefill_tokens=13)
    text = PROMPTS[4]
    with torch.inference_mode():
        own = model(torch.tensor([text]))[0].log_softmax(-1)
    engine.add(ask(text, prompt_logprobs=True, n_top=2, max_new_tokens=1))
    events = drain(engine)
    (told,) = [event.prompt for event in events if event.prompt]
    assert [token.id for token in told] == text
    assert told[0].logprob is None
    for place, token in enumerate(told[1:]):
        assert token.logprob == pytest.approx(float(own[place, token.id]), abs=1e-4)
        assert token.top[0][1] == pytest.approx(float(own[place].max()), abs=1e-4)
        assert token.top[0][1] >= token.top[1][1]
        if token.id == token.top[0][0]:
            assert token.logprob == token.top[0][1]
    # What was drawn has the same bits when it comes back as a prompt.
    (drawn,) = run(engine, [ask(text, n_top=3)])
    engine.add(ask(text + [token.id for token in drawn], prompt_logprobs=True, n_top=3, max_new_tokens=1))
    (echoed,) = [event.prompt for event in drain(engine) if event.prompt]
    assert list(echoed[len(text) :]) == drawn


def test_the_prompt_of_one_token_is_told_too(engine_for: MakeEngine):
    engine = engine_for(tiny_model())
    engine.add(ask([4], prompt_logprobs=True, max_new_tokens=2))
    first, second, third = drain(engine)
    assert [token.id for token in first.prompt] == [4]
    assert second.token is not None
    assert (second.end_reason, third.end_reason) == (None, "length")


def test_a_cancelled_request_is_gone_within_a_step_and_frees_its_blocks(engine_for: MakeEngine):
    engine = engine_for(tiny_model(), max_batch=2, prefill_tokens=16)
    ids = [engine.add(ask(PROMPTS[4], i)) for i in range(4)]  # 0 is half read, 1 waits for it, 2 and 3 too
    engine.step()
    for i in (ids[0], ids[2]):
        engine.cancel(i)
    engine.cancel(12345)  # long finished, or never there
    assert {event.request_id for event in drain(engine)} == {ids[1], ids[3]}
    assert engine.scheduler.blocks.n_free == engine.scheduler.blocks.n_blocks - 1


def test_prompts_read_before_are_not_read_again(engine_for: MakeEngine):
    engine = engine_for(tiny_model())
    request = ask(PROMPTS[4], max_new_tokens=1)
    read = count_reads(engine)
    run(engine, [request, request])
    assert sum(read) == len(PROMPTS[4]) - 1
    run(engine, [replace(request, prompt_ids=(*PROMPTS[4], 3), key=5)])
    assert sum(read) == len(PROMPTS[4]) - 1  # the last token was read when the next was drawn
    run(engine, [replace(request, salt="other")])
    assert sum(read) == 2 * (len(PROMPTS[4]) - 1)
    engine.refresh()
    run(engine, [request])
    assert sum(read) == 3 * (len(PROMPTS[4]) - 1)


def count_reads(engine: PagedEngine) -> list[int]:
    """A list that grows by the number of tokens of every read."""
    read: list[int] = []
    plain = engine._decoder.read

    def counted(spans: list) -> None:
        read.append(sum(len(span.ids) for span in spans))
        plain(spans)

    engine._decoder.read = counted
    return read


def test_a_filter_that_allows_nothing_ends_its_request_alone(engine_for: MakeEngine):
    engine = engine_for(tiny_model())
    good = engine.add(ask(PROMPTS[0]))
    stuck = engine.add(ask(PROMPTS[1], forbidden_ids=frozenset(range(VOCAB))))
    events = drain(engine)
    (last,) = [event for event in events if event.request_id == stuck]
    assert last.end_reason == "error"
    assert "no token may come next" in last.error
    assert sum(event.request_id == good for event in events) == 12


def test_logits_that_are_not_finite_end_the_request_with_an_error(engine_for: MakeEngine):
    model = tiny_model()
    engine = engine_for(model)
    with torch.no_grad():
        model.backbone.norm.weight.fill_(torch.nan)
    engine.refresh()
    for sampling in ({}, {"temperature": 0.0}, {"top_p": 0.5}):
        engine.add(ask(PROMPTS[0], **sampling))
        (event,) = drain(engine)
        assert (event.end_reason, event.token) == ("error", None)
        assert "not finite" in event.error


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prompt_ids": ()}, "prompt is empty"),
        ({"prompt_ids": (3, 40)}, "id 40; the model knows 0 to 39"),
        ({"prompt_ids": (-1,)}, "id -1"),
        ({"prompt_ids": (1,) * 160}, "160 tokens and the context holds 160"),
        ({"logit_bias": {40: 1.0}}, "id 40"),
        ({"logit_bias": {4: float("nan")}}, "nan"),
        ({"forbidden_ids": frozenset({-3})}, "id -3"),
        ({"presence_penalty": float("inf")}, "inf"),
        ({"min_p": 1.5}, "min_p is 1.5"),
        ({"n_top": -1}, "n_top is -1"),
    ],
    ids=str,
)
def test_impossible_requests_are_refused_by_what_is_wrong(wrong: dict[str, object], said: str):
    engine = make_engine("torch", tiny_model())
    with pytest.raises(ValueError, match=said):
        engine.add(replace(ask([1]), **wrong))
    assert engine.n_unfinished == 0


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match=r"engine\.max_batch is 0"):
        EngineConfig(max_batch=0)
    with pytest.raises(ConfigError, match=r"engine\.n_draft is 33"):
        EngineConfig(n_draft=33)
    with pytest.raises(ValueError, match="cache_tokens is 100; one request may need 160"):
        PagedEngine(tiny_model(), EngineConfig(cache_tokens=100))
    model = tiny_model()
    model.backbone.compute_dtype = torch.bfloat16
    with pytest.raises(ValueError, match="float32"):
        PagedEngine(model, EngineConfig(decoder=DecoderConfig(kernel="torch", exact=True)))


@pytest.mark.parametrize("parts", [WINDOWED, {"position": "learned"}], ids=str)
def test_models_of_other_parts_run_through_their_own_forward(parts: dict[str, object]):
    model = tiny_model(**parts)
    exact = DecoderConfig(exact=True)
    engine = PagedEngine(model, EngineConfig(decoder=exact, max_batch=4, cache_tokens=200))
    requests = [ask(PROMPTS[4][: 20 + 12 * i], i, max_new_tokens=30) for i in range(4)]
    for request, tokens in zip(requests, run(engine, requests), strict=True):
        wanted = expected(model, request)
        assert [token.id for token in tokens] == [token.id for token in wanted]
        assert [t.logprob for t in tokens] == pytest.approx([t.logprob for t in wanted], abs=1e-4)
        assert run(PagedEngine(model, EngineConfig(decoder=exact)), [request]) == [tokens]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fast_mode_of_the_plain_forward_stays_within_its_bound(dtype: torch.dtype):
    model = tiny_model()
    model.backbone.compute_dtype = dtype
    plain = EngineConfig(decoder=DecoderConfig(kernel="torch"), max_batch=16)
    requests = [ask(PROMPTS[i % 5], i, max_new_tokens=1, n_top=VOCAB) for i in range(16)]
    bound = 1e-2 if dtype is torch.float32 else 0.25  # of logits up to 10, rounded to 8 bits
    for request, tokens in zip(requests, run(PagedEngine(model, plain), requests), strict=True):
        (alone,) = run(PagedEngine(model, plain), [request])
        assert dict(alone[0].top) == pytest.approx(dict(tokens[0].top), abs=bound)


def test_guesses_are_taken_where_text_repeats_and_change_nothing(engine_for: MakeEngine):
    model = tiny_model()
    engine = engine_for(model, n_draft=6)
    request = ask([1, 2, 3], temperature=0.0, max_new_tokens=100)
    steps = 0
    engine.add(request)
    tokens = []
    while engine.n_unfinished:
        tokens += [event.token for event in engine.step()]
        steps += 1
    assert [tokens] == run(engine_for(model), [request])
    repeats = any(ids == later for ids, later in pairwise(triples(tokens)))
    assert steps < 100 or not repeats


def triples(tokens: list) -> list[tuple[int, ...]]:
    ids = [token.id for token in tokens]
    return sorted(tuple(ids[i : i + 3]) for i in range(len(ids) - 2))


def test_a_decoder_that_disagrees_with_the_model_is_not_used(monkeypatch: pytest.MonkeyPatch):
    if library() is None:
        pytest.skip("no C compiler")
    model = tiny_model()
    judge = NativeDecoder.judge
    monkeypatch.setattr(NativeDecoder, "judge", lambda *args: [p - 0.01 for p in judge(*args)])
    with pytest.warns(RuntimeWarning, match=r"differs from the model's own forward by 0\.01"):
        engine = PagedEngine(model)
    request = ask(PROMPTS[2])
    assert [t.id for t in run(engine, [request])[0]] == [t.id for t in expected(model, request)]


def adapted_by(model: LanguageModel, kind: str) -> LanguageModel:
    """A model over the very weights of another, with an adapter that changes what it says."""
    other = twin(model.requires_grad_(False))
    virtual = {"virtual": VirtualTokens(n=4)} if kind == "prefix" else {}
    attach(other, AdapterConfig(kind=kind, **virtual), seed=3)  # type: ignore[arg-type]
    with torch.no_grad():
        for parts in places(other).values():
            for parameter in parts.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)) * 0.3)
    return other.eval()


@pytest.mark.parametrize(("kind", "thin"), [("lora", True), ("ia3", False), ("prefix", False)])
def test_any_adapter_is_served_beside_its_base_as_the_reference_says(kind: str, thin: bool):
    model = tiny_model()
    models = {"x": adapted_by(model, kind)}
    engine, reference = PagedEngine(model), ReferenceEngine(model, adapters=models)
    engine.load_adapter("x", models["x"])
    if library() is not None:
        assert isinstance(engine._decoder, NativeDecoder) == thin
    requests = [ask(PROMPTS[i], i, adapter=(None, "x")[i % 2], top_k=9, min_p=0.01) for i in range(5)]
    found, wanted = run(engine, requests), run(reference, requests)  # type: ignore[arg-type]
    for ours, theirs in zip(found, wanted, strict=True):
        assert [token.id for token in ours] == [token.id for token in theirs]
        assert [t.logprob for t in ours] == pytest.approx([t.logprob for t in theirs], abs=1e-4)
    longest = models["x"].config.max_seq_len
    with pytest.raises(ValueError, match=f"the context holds {longest}"):
        engine.add(ask([1] * longest, adapter="x"))
    engine.unload_adapter("x")
    engine.refresh()
    assert library() is None or isinstance(engine._decoder, NativeDecoder)
    assert [t.id for t in run(engine, requests[:1])[0]] == [t.id for t in wanted[0]]


def test_an_engine_at_work_is_not_given_another_decoder():
    if library() is None:
        pytest.skip("no C compiler")
    model = tiny_model()
    engine, prefixed = PagedEngine(model), adapted_by(model, "prefix")
    engine.add(ask([1]))
    with pytest.raises(ValueError, match="1 sequences are running"):
        engine.load_adapter("x", prefixed)
    assert engine.adapters == ()
    drain(engine)
    engine.load_adapter("x", prefixed)
