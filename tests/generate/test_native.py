"""The decoder in C with weights in every form: the same bits in any company and by any number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from oracle import OnlyMultiples, random_factors, run, tiny_model, with_updates

from danlu.adapters.attach import attach
from danlu.adapters.settings import AdapterConfig
from danlu.generate import bindings, native
from danlu.generate.engine import EngineConfig, PagedEngine
from danlu.generate.kernel import DecoderConfig, disagreement
from danlu.generate.native import NativeDecoder, library, supports
from danlu.generate.request import Request
from danlu.generate.sampling import SamplingConfig
from danlu.model.heads import LanguageModel
from danlu.model.quantize import Quantisation, quantise

if library() is None:
    pytest.skip("no C compiler", allow_module_level=True)

LONG = [(7 * i * i + i) % 37 for i in range(90)]
# Widths that are no whole panels, and at 4 bits one matrix (d_ff no multiple of the group) that is kept in 8.
SIZES = {"d_model": 64, "head_dim": 16, "d_ff": 112}
FORMS = ("float32", "bfloat16 sums", "bfloat16 weights", "int8", "int4", "int4 all")


def model_of(form: str, **choices: object) -> LanguageModel:
    model = tiny_model(**SIZES | ({"d_ff": 128} if form == "int4 all" else {}) | choices)
    if form.startswith("int"):
        quantise(model, Quantisation(bits=8 if form == "int8" else 4, group=32))
    if form == "bfloat16 sums":
        model.backbone.compute_dtype = torch.bfloat16
    return model.bfloat16() if form == "bfloat16 weights" else model


def engine_of(model: LanguageModel, **settings: object) -> PagedEngine:
    engine = PagedEngine(model, EngineConfig(decoder=DecoderConfig(kernel="native"), **settings))  # type: ignore[arg-type]
    assert isinstance(engine._decoder, NativeDecoder)
    return engine


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def requests() -> list[Request]:
    """Prompts that begin alike and others, long and short, with what changes how a token is drawn."""
    prompts = [LONG, LONG[:70], [*LONG[:40], 3], [5], LONG[3:20], [5, 6], LONG[20:24], [1], [2], [3, 4, 5]]
    return [
        Request(
            prompt_ids=tuple(prompt),
            sampling=SamplingConfig(max_new_tokens=8, temperature=(0.0, 1.0)[i % 2], top_k=(0, 9)[i // 5]),
            key=i,
            n_top=3,
            token_filter=OnlyMultiples(3) if i == 4 else None,
        )
        for i, prompt in enumerate(prompts)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_bits_in_any_company_and_by_any_threads(form: str):
    model = model_of(form)
    with threads(1):
        alone = [run(engine_of(model), [request])[0] for request in requests()]
    for n_threads, settings in ((1, {}), (2, {}), (3, {"prefill_tokens": 11, "max_batch": 4})):
        with threads(n_threads):
            engine = engine_of(model, **settings)
            for _ in range(2):  # the second time prompts are found in the cache
                assert run(engine, requests()) == alone


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_what_the_weights_say_in_float32(form: str):
    model = model_of(form)
    gap = disagreement(model, engine_of(model)._decoder)
    # Codes are multiplied with 16 bits, so that nothing but rounding of the sums is left.
    assert gap < (1e-3 if form == "float32" or form.startswith("int") else 0.25)


def test_a_quantised_model_takes_adapters_by_request():
    model = model_of("int4 all")
    engine, plain = engine_of(model), engine_of(model)
    engine.load_adapter("a", with_updates(model, random_factors(model, 0)))
    given = Request(prompt_ids=tuple(LONG[:20]), sampling=SamplingConfig(max_new_tokens=6, temperature=0.0))
    asked = Request(prompt_ids=given.prompt_ids, sampling=given.sampling, adapter="a")
    both = run(engine, [given, asked])
    assert both[0] == run(plain, [given])[0]
    assert both[1] == run(engine, [asked])[0]
    assert both[1] != both[0]


def test_an_adapter_in_use_over_codes_runs_through_the_models_own_forward():
    model = model_of("int8")
    attach(model, AdapterConfig(kind="lora"))
    assert not supports(model)
    engine = PagedEngine(model)
    assert not isinstance(engine._decoder, NativeDecoder)


def test_weights_in_bfloat16_stay_so_and_codes_keep_their_size():
    sizes = {}
    for form in ("float32", "bfloat16 weights", "int8", "int4 all"):
        decoder = engine_of(model_of(form, d_ff=128))._decoder
        panels = decoder._panels[decoder._model.backbone.compute_dtype is torch.bfloat16]
        matrices = [buffer for (place, kind), buffer in panels._buffers.items() if isinstance(kind, int)]
        sizes[form] = sum(buffer.nbytes for buffer in matrices if buffer.ndim)
    assert sizes["bfloat16 weights"] * 2 == sizes["int8"] * 4 == sizes["float32"]
    assert sizes["int4 all"] < sizes["int8"]


def test_what_is_not_finite_stays_so_in_whole_numbers():
    model = model_of("int8")
    decoder = engine_of(model)._decoder
    with torch.no_grad():
        model.backbone.norm.weight[5] = torch.inf
    decoder.refresh()
    assert not all(map(torch.isfinite, torch.tensor(decoder.judge(native.Span(0, 0, [1, 2]), [3, 4]))))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_draws_alone_what_its_parent_draws():
    model = model_of("float32")
    with threads(2):
        engine = engine_of(model)
    request = Request(prompt_ids=(1, 2, 3), sampling=SamplingConfig(max_new_tokens=4))
    wanted = run(engine, [request])
    child = os.fork()
    if child == 0:
        os._exit(0 if run(engine, [request]) == wanted else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_code_for_any_processor_says_the_same(form: str, monkeypatch: pytest.MonkeyPatch):
    """Compiled for no processor in particular: narrow vectors, no instructions for short numbers."""
    model = model_of(form)
    here = engine_of(model)._decoder
    monkeypatch.setattr(bindings, "TARGETS", ((),))
    monkeypatch.setattr(native, "library", library.__wrapped__)
    there = engine_of(model)._decoder
    assert there._native.panel() <= here._native.panel()
    span = native.Span(0, 0, LONG[:30])
    found = [torch.tensor(decoder.judge(span, LONG[1:31])) for decoder in (here, there)]
    rounded = form == "bfloat16 sums" and here._native.multiplies_bf16()
    assert (found[0] - found[1]).abs().max() < (0.25 if rounded else 1e-3)
