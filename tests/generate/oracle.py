"""A model with something to say, and what a request must give by its plain forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from danlu.adapters.sharing import twin
from danlu.generate.choose import uniforms
from danlu.generate.engine import PagedEngine
from danlu.generate.request import Event, Request, Token
from danlu.model.adapted import AdaptedLinear, Factors, Update
from danlu.model.config import ModelConfig
from danlu.model.heads import LanguageModel

VOCAB = 40


def tiny_model(**choices: object) -> LanguageModel:
    sizes = {
        "vocab_size": VOCAB,
        "d_model": 32,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 16,
        "d_ff": 48,
    }
    model = LanguageModel(ModelConfig(**sizes | {"max_seq_len": 160} | choices), seed=1)
    with torch.no_grad():  # an untrained model is all but uniform; larger weights give it something to say
        for parameter in model.parameters():
            parameter.mul_(3 if parameter.ndim == 2 else 1)
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.1)
    return model.eval()


def random_factors(model: LanguageModel, seed: int, rank: int = 3) -> dict[str, Factors]:
    """An update of every linear layer in the blocks, large enough to change what is said."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (
            torch.randn(rank, linear.in_features, generator=generator) * 0.3,
            torch.randn(linear.out_features, rank, generator=generator) * 0.3,
        )
        for name, linear in model.named_modules()
        if isinstance(linear, torch.nn.Linear) and name.startswith("backbone.blocks.")
    }


class Thin(Update):
    kind, thin = "lora", True

    def __init__(self, factors: Factors) -> None:
        super().__init__()
        self.down, self.up = (torch.nn.Parameter(factor) for factor in factors)

    def factors(self) -> Factors:
        return self.down, self.up

    def forward(self, x: torch.Tensor, out: torch.Tensor, linear: torch.nn.Linear) -> torch.Tensor:
        return x @ self.down.t() @ self.up.t()


def with_updates(model: LanguageModel, factors: Mapping[str, Factors]) -> LanguageModel:
    """A model over the very weights of another, which are frozen, with updates of its linear layers."""
    other = twin(model.requires_grad_(False))
    for name, pair in factors.items():
        parent, _, last = name.rpartition(".")
        layer = AdaptedLinear(other.get_submodule(name))
        layer.adapters["default"] = Thin(pair)
        layer.adapters.active["default"] = 1.0
        setattr(other.get_submodule(parent), last, layer)
    return other


def merged(model: LanguageModel, factors: Mapping[str, Factors]) -> LanguageModel:
    """A copy of the model with the updates inside its weights."""
    other = LanguageModel(model.config)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        for name, (down, up) in factors.items():
            other.get_submodule(name).weight.add_(up @ down)
    return other.eval()


@dataclass
class OnlyMultiples:
    """Ids must be multiples of `of`, and none may come twice in a row."""

    of: int
    last: int = -1

    def allow(self, logits: torch.Tensor) -> None:
        allowed = [i for i in range(0, len(logits), self.of) if i != self.last]
        forbidden = sorted(set(range(len(logits))) - set(allowed))
        logits[forbidden] = -torch.inf

    def accept(self, token_id: int) -> None:
        self.last = token_id


def expected(model: LanguageModel, request: Request) -> list[Token]:
    """The completion, by one forward over the whole text for every token, and float64 from the logits on."""
    ids, drawn = list(request.prompt_ids), list[Token]()
    limit = min(request.sampling.max_new_tokens, model.config.max_seq_len - len(ids))
    numbers = uniforms(request.sampling.seed, request.key, limit)
    given = request.token_filter
    token_filter = OnlyMultiples(given.of) if isinstance(given, OnlyMultiples) else None
    for uniform in numbers:
        with torch.inference_mode():
            logits = model(torch.tensor([ids]))[0, -1].double()
        logprobs = logits.log_softmax(-1)
        changed = changed_logits(logits.clone(), request, [token.id for token in drawn])
        if token_filter is not None:
            token_filter.allow(changed)
        token_id = pick(changed.numpy(), request, float(uniform))
        order = sorted(range(VOCAB), key=lambda i: (-float(logprobs[i]), i))
        top = tuple((i, float(logprobs[i])) for i in order[: request.n_top])
        drawn.append(Token(id=token_id, logprob=float(logprobs[token_id]), top=top))
        ids.append(token_id)
        if token_filter is not None:
            token_filter.accept(token_id)
        if token_id in request.stop_ids:
            break
    return drawn


def changed_logits(logits: torch.Tensor, request: Request, completion: Sequence[int]) -> torch.Tensor:
    for token_id, amount in request.logit_bias.items():
        logits[token_id] += amount
    for token_id, count in Counter(completion).items():
        logits[token_id] -= request.presence_penalty + count * request.frequency_penalty
    logits[sorted(request.forbidden_ids)] = -torch.inf
    return logits


def pick(logits: np.ndarray, request: Request, uniform: float) -> int:
    sampling = request.sampling
    if sampling.temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / sampling.temperature)
    probs = weights / weights.sum()
    if not (sampling.top_k or sampling.top_p < 1 or request.min_p):
        return int(np.searchsorted(np.cumsum(probs), uniform, side="right"))
    order = sorted(range(len(probs)), key=lambda i: (-probs[i], i))
    if sampling.top_k:
        order = order[: sampling.top_k]
    mass, before, kept = sum(probs[i] for i in order), 0.0, []
    for i in order:
        if before < sampling.top_p * mass and probs[i] >= request.min_p * probs[order[0]]:
            kept.append(i)
        before += probs[i]
    shares = np.array([probs[i] for i in kept])
    return kept[int(np.searchsorted(np.cumsum(shares / shares.sum()), uniform, side="right"))]


def run(engine: PagedEngine, requests: Sequence[Request], *, most_steps: int = 5000) -> list[list[Token]]:
    """The completions, in the order of the requests."""
    ids = [engine.add(request) for request in requests]
    tokens: dict[int, list[Token]] = {i: [] for i in ids}
    for event in drain(engine, most_steps):
        if event.token is not None:
            tokens[event.request_id].append(event.token)
    return [tokens[i] for i in ids]


def drain(engine: PagedEngine, most_steps: int = 5000) -> list[Event]:
    events: list[Event] = []
    for _ in range(most_steps):
        if not engine.n_unfinished:
            return events
        events += engine.step()
    raise AssertionError(f"not done after {most_steps} steps")
