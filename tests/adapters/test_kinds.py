"""What holds of every kind of adapter on every family: where it begins, what it trains, who honours it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import CONFIGS, FAMILIES, MERGEABLE, VIRTUAL, base_model, some_ids, taught
from torch import tensor
from torch.testing import assert_close

from danlu.adapters.attach import activate, adapters_off, attach, merge, names, unmerge
from danlu.adapters.files import apply_adapter, load_adapter, read_adapter, save_adapter
from danlu.adapters.ia3 import Rescale
from danlu.adapters.lora import Dora
from danlu.adapters.settings import AdapterConfig, Bottleneck, Budget, VirtualTokens
from danlu.adapters.sharing import base_digest, twin
from danlu.config import ConfigError
from danlu.generate.native import NativeDecoder, library
from danlu.generate.sampler import Sampler
from danlu.generate.sampling import SamplingConfig
from danlu.inspect.model_checks import cache_equals_full, gradient_reaches
from danlu.model.adapted import dense_bias, dense_weight, is_brought
from danlu.model.heads import LanguageModel, ScoreModel
from danlu.model.hf import load_language_model, save_model
from danlu.model.native import bindings
from danlu.model.precision import Precision, apply_precision
from danlu.model.presets import QWEN2
from danlu.model.weights import ModelFileError

KINDS = tuple(CONFIGS)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_family = pytest.mark.parametrize("family", FAMILIES)


def nll(model: LanguageModel) -> torch.Tensor:
    ids = some_ids()
    return model.nll_sum(ids[:, :-1], None, None, ids[:, 1:], torch.ones_like(ids[:, 1:], dtype=torch.bool))


def answers(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(some_ids())


@every_family
@every_kind
def test_it_begins_as_the_identity_trains_its_own_and_keeps_the_bases_names(kind: str, family: str):
    base, model = base_model(FAMILIES[family]), base_model(FAMILIES[family])
    attach(model, CONFIGS[kind])
    same = torch.equal(answers(model), answers(base))
    assert same == (kind not in VIRTUAL)  # which every text attends to from the start
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(is_brought(name) for name in trained)
    own = [name for name, _ in model.named_parameters() if not is_brought(name)]
    assert own == [name for name, _ in base.named_parameters()]
    assert base_digest(model) == base_digest(base)
    with adapters_off(model):
        assert torch.equal(answers(model), answers(base))


@every_kind
def test_its_gradients_reach_all_of_it(kind: str):
    model = base_model()
    attach(model, CONFIGS[kind])
    finding = gradient_reaches(model, lambda: nll(model))
    assert finding.ok, finding.line
    assert "are frozen" in finding.found


@every_family
@every_kind
def test_the_cache_gives_what_one_pass_gives(kind: str, family: str):
    finding = cache_equals_full(taught(base_model(FAMILIES[family]), CONFIGS[kind]), some_ids()[0].tolist())
    assert finding.ok, finding.line


@every_kind
def test_what_shares_a_row_changes_nothing(kind: str):
    """Two texts packed into a row are answered as each by itself."""
    model = taught(base_model(), CONFIGS[kind])
    first, second = some_ids()[0, :9], some_ids()[1, :6]
    positions = torch.cat([torch.arange(9), torch.arange(6)])[None]
    segments = tensor([[0] * 9 + [1] * 6])
    with torch.no_grad():
        packed = model(torch.cat([first, second])[None], positions, segments)[0]
        assert_close(packed[:9], model(first[None])[0], atol=2e-5, rtol=1e-5)
        assert_close(packed[9:], model(second[None])[0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("kernels", ["native", "packed"])
@every_kind
def test_fused_kernels_apply_it_or_leave_it_to_the_plain_path(kind: str, kernels: Any):
    if not bindings.available() or (kernels == "packed" and not bindings.has_products()):
        pytest.skip(f"no {kernels} kernels on this machine")
    dtype = "bfloat16" if kernels == "packed" else "float32"
    early, late, plain = base_model(), base_model(), taught(base_model(), CONFIGS[kind])
    taught(early, CONFIGS[kind])
    apply_precision(plain, Precision(dtype=dtype))
    for model in (early, late):
        apply_precision(model, Precision(dtype=dtype, kernels=kernels))
    taught(late, CONFIGS[kind])  # when the kernels were chosen already
    assert torch.equal(answers(early), answers(late))
    size = float(answers(plain).abs().max())
    tolerance = size * (0.05 if dtype == "bfloat16" else 1e-5)
    assert_close(answers(early), answers(plain), atol=tolerance, rtol=0)
    nll(early).backward()
    nll(plain).backward()
    for ours, theirs in zip(early.parameters(), plain.parameters(), strict=True):
        if theirs.grad is not None:
            assert ours.grad is not None
            limit = (0.1 if dtype == "bfloat16" else 1e-3) * float(theirs.grad.norm())
            assert float((ours.grad - theirs.grad).norm()) <= limit


@pytest.mark.parametrize("bias", ["none", "qkv"])
@every_kind
def test_what_is_sampled_is_what_the_adapted_model_says(kind: str, bias: str):
    """By the decoder in C where weights can stand for the adapter, otherwise by the model itself."""
    model = base_model(QWEN2, bias=bias).eval()
    sampler = Sampler(model, stop_ids=())  # made before there is an adapter
    before = sampled_and_trained(sampler, model)
    taught(model, CONFIGS[kind])
    after = sampled_and_trained(sampler, model)
    if library() is not None:
        assert isinstance(sampler._engine._decoder, NativeDecoder) == (kind in MERGEABLE)
    with adapters_off(model):
        off = sampled_and_trained(sampler, model)
    for sampled, trained in (before, after, off):
        assert_close(sampled, trained, atol=1e-4, rtol=0)
    assert_close(off[0], before[0], atol=1e-5, rtol=0)
    assert float((after[0] - before[0]).abs().max()) > 1e-3


def sampled_and_trained(sampler: Sampler, model: LanguageModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of drawn tokens as the sampler reports them, and by the training forward."""
    prompts = [[5, 9, 2], [7, 7, 3, 1], [5, 9, 2, 4, 4]]
    drawn = sampler.generate(prompts, SamplingConfig(max_new_tokens=12, seed=1))
    found: list[torch.Tensor] = []
    for prompt, completion in zip(prompts, drawn, strict=True):
        with torch.inference_mode():
            logits = model(tensor([prompt + list(completion.ids)]))[0, len(prompt) - 1 : -1]
        found.append(logits.log_softmax(-1).gather(-1, tensor(completion.ids)[:, None])[:, 0])
    return tensor([p for each in drawn for p in each.logprobs]), torch.cat(found)


def test_a_sampler_at_work_is_not_given_another_form():
    if library() is None:
        pytest.skip("no C compiler")
    model = base_model().eval()
    sampler = Sampler(model, stop_ids=())
    sampler.add([1, 2], SamplingConfig(max_new_tokens=4))
    attach(model, CONFIGS["prefix"])
    with pytest.raises(ValueError, match="1 sequences are running"):
        sampler.refresh()


@every_family
@pytest.mark.parametrize("kind", MERGEABLE)
def test_merged_and_unmerged_it_answers_alike(kind: str, family: str, tmp_path: Path):
    base = base_model(FAMILIES[family]).requires_grad_(False)
    weights = {name: p.clone() for name, p in base.named_parameters()}
    model = taught(twin(base), CONFIGS[kind])
    wanted = answers(model)
    near = 1e-5 * float(wanted.abs().max())
    merge(model)
    merge(model)  # a second time adds nothing
    assert_close(answers(model), wanted, atol=near, rtol=0)
    assert not any(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="unmerge first"), adapters_off(model):
        pass
    unmerge(model)
    assert torch.equal(answers(model), wanted)
    assert any(p.requires_grad for p in model.parameters())
    save_model(model, tmp_path)
    assert_close(answers(load_language_model(tmp_path)), wanted, atol=near, rtol=0)
    for name, p in base.named_parameters():  # whose weights the merged twin shares
        assert torch.equal(p, weights[name])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in MERGEABLE])
def test_what_no_weight_stands_for_is_not_merged(kind: str, tmp_path: Path):
    model = taught(base_model(), CONFIGS[kind])
    for write in (lambda: merge(model), lambda: save_model(model, tmp_path / "model")):
        with pytest.raises(ValueError, match=f"kind '{kind}' cannot be merged"):
            write()
    assert not (tmp_path / "model").exists()
    with adapters_off(model):
        save_model(model, tmp_path / "base")
    assert torch.equal(answers(load_language_model(tmp_path / "base")), answers(base_model()))
    with pytest.raises(ConfigError, match=f"merge is true, but kind '{kind}' cannot be merged"):
        AdapterConfig(kind=kind, merge=True)


@every_family
@every_kind
def test_it_comes_back_from_its_directory(kind: str, family: str, tmp_path: Path):
    base = base_model(FAMILIES[family])
    save_model(base, tmp_path / "base")
    start = ScoreModel.on(base.backbone, seed=9) if family in ("gpt1", "qwen2") else base
    model = taught(start, CONFIGS[kind])
    save_adapter(model, tmp_path / "adapter", CONFIGS[kind], base=tmp_path / "base")
    back = load_adapter(tmp_path / "adapter")
    assert_close(answers(back), answers(model), atol=1e-6, rtol=1e-6)
    assert {p.name for p in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    other = base_model(FAMILIES[family])
    with torch.no_grad():
        other.backbone.embedding.weight[0, 0] += 1
    save_model(other, tmp_path / "base")
    with pytest.raises(ModelFileError, match="was trained on other weights"):
        load_adapter(tmp_path / "adapter")


@every_kind
def test_four_networks_stand_on_one_base(kind: str):
    base = base_model().requires_grad_(False)
    policy = taught(twin(base), CONFIGS[kind])
    value = ScoreModel.on(twin(policy.backbone))
    shared = {p.data_ptr() for p in base.parameters()}
    for model in (policy, value):
        own = [name for name, p in model.named_parameters() if p.data_ptr() not in shared]
        assert own
        assert all(is_brought(name) or name == "score.weight" for name in own)
    before = answers(value)
    with torch.no_grad():
        for p in policy.parameters():
            if p.requires_grad:
                p.add_(0.1)
    assert torch.equal(answers(value), before)
    assert torch.equal(answers(base), answers(base_model()))


def two_adapters(kind: str, other: str) -> LanguageModel:
    model = taught(base_model(), CONFIGS[kind], name="first", seed=3)
    taught(model, CONFIGS[other], name="second", seed=30)
    return model


@every_kind
def test_several_by_name_are_switched(kind: str):
    model, alone = two_adapters(kind, "lora"), taught(base_model(), CONFIGS[kind])
    assert names(model) == ["first", "second"]
    lora = taught(base_model(), CONFIGS["lora"], seed=30)
    assert_close(answers(model), answers(lora), atol=1e-5, rtol=1e-5)  # the last that came counts
    activate(model, {"first": 1.0})
    if kind not in VIRTUAL:  # fewer positions are left to the one with virtual tokens
        assert torch.equal(answers(model), answers(alone))
    with adapters_off(model):
        assert torch.equal(answers(model), answers(base_model()))
    activate(model, {})
    assert torch.equal(answers(model), answers(base_model()))
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(".second." in name for name in trained)


@pytest.mark.parametrize("kind", MERGEABLE)
@pytest.mark.parametrize("kernels", ["plain", "native"])
def test_adapters_are_added_and_subtracted_as_their_weights_are(kind: str, kernels: Any):
    """Task arithmetic: W + 0.5 · (W₁ − W) − 2 · (W₂ − W), biases likewise, by hand."""
    if kernels == "native" and not bindings.available():
        pytest.skip("needs a C compiler")
    model, base = two_adapters(kind, "lora"), base_model()
    wanted = base_model()
    for name, linear in base.named_modules():
        if isinstance(linear, torch.nn.Linear):
            for read, which in ((dense_weight, "weight"), (dense_bias, "bias")):
                plain = getattr(linear, which)
                if plain is None:
                    continue
                total = plain.detach().clone()
                for adapter, factor in (("first", 0.5), ("second", -2.0)):
                    activate(model, {adapter: 1.0})
                    total += factor * (read(model.get_submodule(name)) - plain).detach()
                getattr(wanted.get_submodule(name), which).data = total
    activate(model, {"first": 0.5, "second": -2.0})
    apply_precision(model, Precision(kernels=kernels))
    size = float(answers(wanted).abs().max())
    assert_close(answers(model), answers(wanted), atol=1e-5 * size, rtol=0)
    merge(model)
    assert_close(answers(model), answers(wanted), atol=1e-5 * size, rtol=0)


def test_the_whole_of_an_adapter_taken_off_is_the_base():
    model = taught(base_model(), CONFIGS["lora"], name="first")
    merge(model)
    merged = {name: p for name, p in model.named_parameters() if not is_brought(name)}
    base = base_model()
    base.load_state_dict(merged, strict=False)
    taught(base, CONFIGS["lora"], name="again")
    activate(base, {"again": -1.0})
    assert_close(answers(base), answers(base_model()), atol=2e-5, rtol=0)


def test_what_is_on_or_off_takes_no_factor_and_no_company():
    for kind in ("houlsby", "prompt"):
        model = two_adapters(kind, kind)
        for factors in ({"first": 0.5}, {"first": -1.0}, {"first": 1.0, "second": 1.0}):
            with pytest.raises(ValueError, match="which is on or off"):
                activate(model, factors)
    model = two_adapters("prefix", "houlsby")  # these stand at other places, so both may count
    alone = answers(model)
    activate(model, {"first": 1.0, "second": 1.0})
    assert not torch.equal(answers(model), alone)


def test_names_that_cannot_be_are_refused():
    model = taught(base_model())
    with pytest.raises(ValueError, match="no adapter 'zh'; it has default"):
        activate(model, {"zh": 1.0})
    for name in ("a.b", "", "active", "keys"):
        with pytest.raises(ValueError, match="cannot be an adapter's name"):
            attach(model, CONFIGS["lora"], name=name)
    with pytest.raises(ValueError, match="has an adapter 'default' already"):
        attach(model, CONFIGS["prompt"])


def test_a_second_directory_is_put_beside_the_first(tmp_path: Path):
    save_model(base_model(), tmp_path / "base")
    for name, kind, seed in (("one", "lora", 3), ("two", "ia3", 30)):
        save_adapter(
            taught(base_model(), CONFIGS[kind], seed=seed),
            tmp_path / name,
            CONFIGS[kind],
            base=tmp_path / "base",
        )
    model = load_adapter(tmp_path / "one")
    apply_adapter(model, read_adapter(tmp_path / "two"), name="two")
    activate(model, {"default": 1.0, "two": 1.0})
    both = taught(base_model(), CONFIGS["lora"])
    taught(both, CONFIGS["ia3"], name="two", seed=30)
    activate(both, {"default": 1.0, "two": 1.0})
    assert_close(answers(model), answers(both), atol=1e-6, rtol=1e-6)
    save_adapter(both, tmp_path / "again", CONFIGS["ia3"], base=tmp_path / "base", name="two")
    assert_close(
        answers(load_adapter(tmp_path / "again")), answers(load_adapter(tmp_path / "two")), atol=0, rtol=0
    )
    with pytest.raises(ValueError, match="no adapter 'three' to save"):
        save_adapter(both, tmp_path / "x", CONFIGS["ia3"], base=tmp_path / "base", name="three")


def test_dora_by_hand():
    """Rows of W + s B A of lengths 5 and 13, stretched to magnitudes 10 and 13."""
    linear = torch.nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.copy_(tensor([[3.0, 0.0], [5.0, 10.0]]))
        linear.bias.copy_(tensor([0.5, -0.5]))
        dora = Dora(linear, rank=1, scale=2.0)
        assert_close(dora.magnitude, tensor([3.0, 125.0**0.5]))
        dora.lora_a.copy_(tensor([[0.0, 1.0]]))
        dora.lora_b.copy_(tensor([[2.0], [1.0]]))  # s B A = [[0, 4], [0, 2]]
        dora.magnitude.copy_(tensor([10.0, 13.0]))
        x = tensor([1.0, 1.0])
        added = dora(x, linear(x), linear)
    # W' = [[6, 8], [5, 12]], so W' x + b = (14.5, 16.5); the layer itself gives (3.5, 14.5)
    assert_close(added, tensor([11.0, 2.0]))


def test_ia3_by_hand():
    linear = torch.nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.copy_(tensor([[1.0, 2.0], [3.0, 4.0]]))
        linear.bias.copy_(tensor([1.0, -1.0]))
        x = tensor([1.0, 1.0])  # the layer gives (4, 6)
        out, into = Rescale(linear, on_input=False), Rescale(linear, on_input=True)
        for part in (out, into):
            part.gain.copy_(tensor([2.0, 0.5]))
        assert_close(linear(x) + out(x, linear(x), linear), tensor([8.0, 3.0]))
        assert_close(linear(x) + into(x, linear(x), linear), tensor([4.0, 7.0]))  # W (2, 0.5) + b


def test_ia3_rescales_keys_values_and_what_leaves_the_activation():
    model = base_model()
    attach(model, CONFIGS["ia3"])
    found = {name.partition(".adapters.")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert found == {
        f"backbone.blocks.{block}.{layer}"
        for block in range(2)
        for layer in ("self_attn.sublayer.k", "self_attn.sublayer.v", "mlp.sublayer.out")
    }


def test_a_bottleneck_is_a_small_mlp_behind_the_sublayer():
    """Houlsby's two in each block, Pfeiffer's one; the arithmetic against the sublayers run by hand."""
    for kind, n in (("houlsby", 2), ("pfeiffer", 1)):
        model = taught(base_model(), CONFIGS[kind])
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        assert len({name.partition(".adapters.")[0] for name in trained}) == 2 * n
    block = model.backbone.blocks[0].mlp
    part = block.sublayer.out.adapters["default"]
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    with adapters_off(model), torch.no_grad():
        y = block.sublayer(x)
        hidden = torch.relu(y @ part.down.T + part.down_bias)
        wanted = y + hidden @ part.up.T + part.up_bias
    with torch.no_grad():
        assert_close(block.sublayer(x), wanted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "ia3", "rank": 4}, "rank is set, but kind 'ia3' does not read it; it reads targets"),
        ({"kind": "prompt", "targets": ("q",)}, "targets is set, but kind 'prompt' does not read it"),
        ({"kind": "lora", "budget": Budget(every=3)}, "budget is set, but kind 'lora' does not read it"),
        ({"kind": "none", "virtual": VirtualTokens(n=3)}, "virtual is set, but kind is 'none'"),
        ({"kind": "lora", "ranks": {"q": 0}}, r"ranks\.q is 0; it must be at least 1"),
        ({"kind": "adalora", "rank": 4}, r"budget\.final_rank is 8; it must be at most rank, 4"),
        ({"kind": "prompt", "virtual": VirtualTokens(width=3)}, "kind 'prompt' has no MLP; kind=prefix has"),
    ],
)
def test_settings_that_a_kind_does_not_read_are_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        AdapterConfig(**settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VirtualTokens(n=0), "n is 0; it must be at least 1"),
        (lambda: VirtualTokens(width=0), "width is 0"),
        (lambda: VirtualTokens(width=4, init_text="a"), "an MLP makes cannot begin as a text"),
        (lambda: Bottleneck(width=0), "width is 0"),
        (lambda: Budget(final_rank=0), "final_rank is 0"),
        (lambda: Budget(keep_first=0.5, keep_last=0.5), "something must be left between them"),
        (lambda: Budget(every=0), "every is 0"),
        (lambda: Budget(sensitivity_beta=1.0), "sensitivity_beta is 1.0; it must lie between 0 and 1"),
        (lambda: Budget(orthogonality=-1.0), "orthogonality is -1.0"),
    ],
)
def test_impossible_sizes_are_refused(make: Callable[[], object], message: str):
    with pytest.raises(ConfigError, match=message):
        make()


def test_targets_and_models_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"no linear layer is named 'gate'; these are: \['k', 'out', 'q'"):
        attach(base_model(FAMILIES["gpt2"]), AdapterConfig(kind="lora", targets=("gate",)))
    with pytest.raises(ConfigError, match=r"ranks\.k is set, but no adapted layer's name ends so"):
        attach(base_model(), AdapterConfig(kind="lora", targets=("q",), ranks={"k": 2}))
    with pytest.raises(ConfigError, match=r"virtual\.n is 64; it must be below 64"):
        attach(base_model(), AdapterConfig(kind="prompt", virtual=VirtualTokens(n=64)))
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2))
    for kind, needed in (
        ("prefix", "needs a decoder"),
        ("houlsby", "needs a Transformer"),
        ("lora", "not set"),
    ):
        with pytest.raises(ConfigError, match=needed):
            attach(plain, AdapterConfig(kind=kind))
