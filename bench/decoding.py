"""Decoding speed beside llama.cpp and transformers: the same untrained weights, in turns within one run.

    python bench/decoding.py                         15 M and 125 M Llama shapes
    python bench/decoding.py --quick                 a tiny shape, to see that everything runs
    python bench/decoding.py --shapes 125M --cases one batch --rounds 9

Every competitor is a process of its own and does one unit of work a turn, so that a busy moment on the
machine falls on all alike: trust the ratios, medians over rounds of the ratio within a round. llama.cpp comes
through llama-cpp-python and reads our own GGUF; without that package, or without transformers, their rows are
left out. All decode greedily. `read` sums as many bytes as a decoder reads for each token: what the memory
gives at that size.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import re
import string
import tempfile
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch
from turns import Worker, median_ratio, serve

from danlu.generate.engine import EngineConfig, PagedEngine
from danlu.generate.grammar import Grammars
from danlu.generate.native import NativeDecoder
from danlu.generate.request import Request
from danlu.generate.sampling import SamplingConfig
from danlu.model.gguf import GgufFormat, Vocabulary, write_gguf
from danlu.model.heads import LanguageModel
from danlu.model.hf import read_model, save_model
from danlu.model.presets import LLAMA
from danlu.model.quantize import Quantisation, weight_bytes

SHAPES = {
    "tiny": (4, 128, 2, 352, 2048),
    "15M": (6, 384, 6, 1024, 8192),
    "125M": (12, 768, 12, 2048, 32000),
}  # layers, width, heads, d_ff, vocabulary
MAX_SEQ_LEN = 2560
PROMPT, N_BATCH, N_PREFILL, N_CONVERSATION = 8, 32, 512, 2000
OURS = ("danlu fp32", "danlu bf16", "danlu int8", "danlu int4")
LLAMA_CPP: dict[str, GgufFormat] = {f"llama.cpp {form}": form for form in ("f16", "q8_0", "q4_0")}
TRANSFORMERS = {"transformers fp32": torch.float32, "transformers bf16": torch.bfloat16}
CASES = {"one": "one stream", "batch": f"batch of {N_BATCH}", "prefill": f"prefill of {N_PREFILL} tokens"}
OWN_CASES = {
    "prefix": f"first token on a conversation of {N_CONVERSATION} tokens, read before or not",
    "grammar": "one stream, free and under a grammar",
}
TARGETS = {  # ours, theirs
    "danlu bf16": "llama.cpp f16",
    "danlu int8": "llama.cpp q8_0",
    "danlu int4": "llama.cpp q4_0",
}
GRAMMAR = r"([a-z]{1,9} [0-9]{1,5}[,.] )*"
LETTERS = [*string.ascii_lowercase, *string.digits, " ", ",", "."]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    if arguments.worker:
        serve(unit_of_work(arguments))
        return
    for shape in arguments.shapes:
        with tempfile.TemporaryDirectory() as folder:
            n_parameters = write_models(shape, Path(folder))
            print(
                f"\n{shape}: {n_parameters / 1e6:.1f} M parameters, {arguments.threads} threads, "
                f"median of {arguments.rounds}"
            )
            for case in arguments.cases:
                report(case, shape, Path(folder), arguments)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = [*CASES, *OWN_CASES]
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["15M", "125M"])
    parser.add_argument("--cases", nargs="+", choices=every, default=every)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64, help="that a stream decodes in a turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="the tiny shape, two rounds, few tokens")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.shapes, arguments.rounds, arguments.tokens = ["tiny"], 2, 8
    return arguments


def write_models(shape: str, folder: Path) -> int:
    """The same weights in every form that somebody reads; how many there are."""
    n_layers, d_model, n_heads, d_ff, vocab_size = SHAPES[shape]
    config = LLAMA(
        vocab_size=vocab_size,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        head_dim=d_model // n_heads,
        d_ff=d_ff,
        max_seq_len=MAX_SEQ_LEN,
    )
    model = LanguageModel(config)
    for form in ("fp32", "bf16", "int8", "int4"):
        bits = {"int8": 8, "int4": 4}.get(form)
        save_model(
            model,
            folder / form,
            dtype="float32" if form == "fp32" else "bfloat16",
            quantisation=None if bits is None else Quantisation(bits=8 if bits == 8 else 4),
        )
    if find_spec("llama_cpp"):
        for form in LLAMA_CPP.values():
            write_gguf(model, folder / f"{form}.gguf", vocabulary(vocab_size), form=form)
    return sum(p.numel() for p in model.parameters())


def vocabulary(size: int) -> Vocabulary:
    """Bytes as GPT-2 spells them, then words nobody uses, so that llama.cpp takes the file."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    spelled = dict(zip(plain, map(chr, plain), strict=True))
    spelled |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    merges = [(left, right) for left in string.ascii_letters for right in string.ascii_letters]
    tokens = [spelled[byte] for byte in range(256)] + ["".join(pair) for pair in merges]
    tokens += [f"<{i}>" for i in range(size)]
    return Vocabulary(
        tokens=tokens[:size],
        control=frozenset(),
        merges=merges[: max(size - 256, 0)],
        pattern="gpt-2",
        bos=None,
        eos=None,
        pad=None,
        chat_template=None,
    )


def report(case: str, shape: str, folder: Path, arguments: argparse.Namespace) -> None:
    """Let the competitors of a case take turns, and print what came of it."""
    names = competitors_of(case)
    common = ["--threads", str(arguments.threads), "--tokens", str(arguments.tokens), "--folder", str(folder)]
    workers = {name: Worker(name, ["--worker", f"{case}/{name}", *common]) for name in names}
    for _ in range(arguments.rounds):
        for worker in workers.values():
            worker.turn()
    print(f"\n  {(CASES | OWN_CASES)[case]}")
    for name, worker in workers.items():
        rate = median(value / s for value, s in zip(worker.values, worker.seconds, strict=True))
        unit = "GB/s" if name.startswith("read") else "tokens/s"
        print(f"    {name:20} {rate:10,.1f} {unit}   {1000 * median(worker.seconds):9.2f} ms")
    (print_shares if case in CASES else print_own)(case, workers)
    for worker in workers.values():
        worker.close()


def competitors_of(case: str) -> list[str]:
    if case == "prefix":
        return ["new", "known"]
    if case == "grammar":
        return [f"{how} {form}" for form in ("bf16", "int8") for how in ("free", "bound")]
    names = [*OURS]
    names += LLAMA_CPP if find_spec("llama_cpp") else []
    names += TRANSFORMERS if find_spec("transformers") else []
    return names + (["read int8", "read int4", "read bf16"] if case == "one" else [])


def print_shares(case: str, workers: dict[str, Worker]) -> None:
    """Ratios to competitors, and for one stream to what the memory gives."""
    for ours, theirs in TARGETS.items():
        if theirs in workers:
            ratio = median_ratio(workers[theirs], workers[ours])
            print(f"    {ours} is {ratio:.2f} times as fast as {theirs}")
    theirs = [workers[name] for name in TRANSFORMERS if name in workers]
    if theirs:
        fastest = min(theirs, key=lambda worker: median(worker.seconds))
        ours = min((workers[name] for name in OURS[:2]), key=lambda worker: median(worker.seconds))
        print(f"    {ours.name} is {median_ratio(fastest, ours):.2f} times as fast as {fastest.name}")
    for form in ("bf16", "int8", "int4") if case == "one" else ():
        ours, read = workers[f"danlu {form}"], workers[f"read {form}"]
        if read.values[0] / READS < IN_CACHE / 1e9:
            continue  # the caches hold it: there is no such limit
        # Seconds for a token's weights by reading alone, and by decoding.
        shares = [
            (read_s / reads) / (own_s / tokens)
            for read_s, reads, own_s, tokens in zip(
                read.seconds, itertools.repeat(READS), ours.seconds, ours.values, strict=False
            )
        ]
        print(f"    {ours.name} reaches {median(shares):.0%} of the bandwidth limit")


def print_own(case: str, workers: dict[str, Worker]) -> None:
    if case == "prefix":
        ratio = median_ratio(workers["new"], workers["known"])
        print(f"    the first token comes {ratio:.1f} times as fast where the conversation was read before")
        return
    for form in ("bf16", "int8"):
        ratio = median_ratio(workers[f"bound {form}"], workers[f"free {form}"])
        print(f"    {form}: {ratio - 1:+.1%} time under a grammar; all output was valid")


def unit_of_work(arguments: argparse.Namespace) -> Callable[[], float]:
    """What a worker does in a turn; each returns how many tokens it dealt with, or GB it read."""
    case, name = arguments.worker.split("/", 1)
    kind, _, form = name.partition(" ")
    folder = Path(arguments.folder)
    if kind == "read":
        return reading(folder / form)
    if kind == "llama.cpp":
        return LlamaCpp(folder / f"{form}.gguf", case, arguments).turn
    if kind == "transformers":
        return theirs(folder, TRANSFORMERS[name], case, arguments.tokens)
    if case in OWN_CASES:
        engine = engine_of(folder / (form or "bf16"))
        return (
            conversation(engine, known=name == "known")
            if case == "prefix"
            else spelling(engine, bound=kind == "bound", n_tokens=arguments.tokens)
        )
    return ours(folder / form, case, arguments.tokens)


def engine_of(path: Path) -> PagedEngine:
    model = read_model(path, dtype="stored")
    assert isinstance(model, LanguageModel)
    if path.name == "bf16":
        model.backbone.compute_dtype = torch.bfloat16
    engine = PagedEngine(model.eval(), EngineConfig(max_batch=N_BATCH, cache_tokens=40_000))
    if not isinstance(engine._decoder, NativeDecoder):  # pyright: ignore[reportPrivateUsage]
        raise SystemExit("the decoder in C cannot be had here; a C compiler is what it takes")
    return engine


def request_of(ids: Sequence[int], n_tokens: int, salt: str = "") -> Request:
    sampling = SamplingConfig(max_new_tokens=n_tokens, temperature=0.0)
    return Request(prompt_ids=tuple(ids), sampling=sampling, salt=salt)


def drained(engine: PagedEngine) -> int:
    n = 0
    while engine.n_unfinished:
        n += len(engine.step())
    return n


def size_of(case: str, n_tokens: int) -> tuple[int, int, int]:
    """Of a case: sequences, tokens of a prompt, tokens to decode."""
    if case == "prefill":
        return 1, N_PREFILL, 1
    return N_BATCH if case == "batch" else 1, PROMPT, n_tokens


def ids_of(row: int, n: int) -> list[int]:
    """Ids that no other row begins with."""
    return [(97 * row + 31 * i) % 1999 for i in range(n)]


def ours(path: Path, case: str, n_tokens: int) -> Callable[[], float]:
    engine, turns = engine_of(path), itertools.count()
    n_rows, n_prompt, n_new = size_of(case, n_tokens)

    def work() -> float:
        salt = str(next(turns))  # nothing of the turn before is found
        for row in range(n_rows):
            engine.add(request_of(ids_of(row, n_prompt), n_new, salt))
        drawn = drained(engine)
        assert drawn == n_rows * n_new
        return n_prompt if case == "prefill" else drawn

    return work


def conversation(engine: PagedEngine, *, known: bool) -> Callable[[], float]:
    """The first token after a long text, of which all but the last turn was read before, or nothing was."""
    turns, ids = itertools.count(), ids_of(1, N_CONVERSATION)

    def work() -> float:
        salt = "" if known else str(next(turns))
        engine.add(request_of([*ids, 7, next(turns) % 1000, 9], 1, salt))
        return drained(engine)

    return work


def spelling(engine: PagedEngine, *, bound: bool, n_tokens: int) -> Callable[[], float]:
    """One stream, which a grammar binds or not; what was bound must match."""
    size = engine._model.config.vocab_size  # pyright: ignore[reportPrivateUsage]
    words = ["".join(pair) for n in (1, 2, 3) for pair in itertools.product(LETTERS, repeat=n)][: size - 1]
    tokens = [word.encode() for word in words] + [b"<end>"] * (size - len(words))
    controls = range(len(words), size)
    grammars = Grammars(tokens, control_ids=[*controls], end_ids=[size - 1])
    # The text so far must be the beginning of a match: a match, cut off anywhere in a last word.
    begun = re.compile(GRAMMAR + r"([a-z]{0,9}|[a-z]{1,9} [0-9]{0,5}[,.]?)")

    def work() -> float:
        request = request_of(ids_of(1, PROMPT), n_tokens)
        free = Request(
            prompt_ids=request.prompt_ids, sampling=request.sampling, forbidden_ids=frozenset(controls)
        )
        filtered = Request(
            prompt_ids=request.prompt_ids,
            sampling=request.sampling,
            forbidden_ids=frozenset({size - 1}),
            token_filter=grammars.filter("regex", GRAMMAR) if bound else None,
        )
        engine.add(filtered if bound else free)
        ids = list[int]()
        while engine.n_unfinished:
            ids += [event.token.id for event in engine.step() if event.token]
        text = b"".join(tokens[i] for i in ids).decode()
        assert len(ids) == n_tokens
        assert not bound or begun.fullmatch(text), text
        return len(ids)

    return work


READS = 8
IN_CACHE = 48e6  # bytes of weights that the caches of a server may hold


def reading(path: Path) -> Callable[[], float]:
    """The weights' bytes from end to end, some times over."""
    model = read_model(path, dtype="stored")
    assert isinstance(model, LanguageModel)
    # Of the embedding, one row is read; of all else everything.
    size = weight_bytes(model) - weight_bytes(cast(Any, model.backbone.embedding))
    numbers = torch.ones(size // 8, dtype=torch.int64)

    def work() -> float:
        total = sum(int(numbers.sum()) for _ in range(READS))
        assert total == READS * len(numbers)
        return READS * size / 1e9

    return work


def theirs(folder: Path, dtype: torch.dtype, case: str, n_tokens: int) -> Callable[[], float]:
    transformers: Any = __import__("transformers")
    form = "fp32" if dtype is torch.float32 else "bf16"
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / form, dtype=dtype).eval()
    n_rows, n_prompt, n_new = size_of(case, n_tokens)
    ids = torch.tensor([ids_of(row, n_prompt) for row in range(n_rows)])

    @torch.inference_mode()
    def work() -> float:
        if case == "prefill":
            logits = model(ids, use_cache=True, logits_to_keep=1).logits
            assert logits.shape[1] == 1
            return n_prompt
        options = {"do_sample": False, "max_new_tokens": n_new, "pad_token_id": 0, "eos_token_id": None}
        found = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
        assert found.shape == (n_rows, n_prompt + n_new)
        return n_rows * n_new

    return work


class LlamaCpp:
    """llama.cpp by its own interface: nothing of the Python package's sampling stands in its way."""

    def __init__(self, path: Path, case: str, arguments: argparse.Namespace) -> None:
        self._l = lib = __import__("llama_cpp")
        self._log = lib.llama_log_callback(lambda *_: None)
        lib.llama_log_set(self._log, ctypes.c_void_p(0))
        lib.llama_backend_init()
        self._n_rows, self._n_prompt, self._n_new = size_of(case, arguments.tokens)
        self._model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        settings = lib.llama_context_default_params()
        settings.n_ctx = self._n_rows * (self._n_prompt + self._n_new + 32)
        settings.n_batch = settings.n_ubatch = max(N_PREFILL, self._n_rows * self._n_prompt)
        settings.n_seq_max = self._n_rows
        settings.n_threads = settings.n_threads_batch = arguments.threads
        self._context = lib.llama_init_from_model(self._model, settings)
        if not self._model or not self._context:
            raise SystemExit(f"llama.cpp cannot open {path}")
        self._greedy = lib.llama_sampler_init_greedy()
        self._batch = lib.llama_batch_init(settings.n_batch, 0, 1)

    def turn(self) -> float:
        lib = self._l
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        rows = range(self._n_rows)
        prompts = [(id_, place, row) for row in rows for place, id_ in enumerate(ids_of(row, self._n_prompt))]
        last = [i for i, (_, place, _) in enumerate(prompts) if place == self._n_prompt - 1]
        self._decode(prompts, last)
        drawn = self._drawn(last)
        for place in range(self._n_prompt, self._n_prompt + self._n_new - 1):
            self._decode([(drawn[row], place, row) for row in rows], rows)
            drawn = self._drawn(rows)
        return self._n_prompt if self._n_new == 1 else self._n_rows * self._n_new

    def _decode(self, tokens: Sequence[tuple[int, int, int]], wanted: Iterable[int]) -> None:
        batch, asked = self._batch, set(wanted)
        batch.n_tokens = len(tokens)
        for i, (id_, place, row) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = id_, place, 1
            batch.seq_id[i][0], batch.logits[i] = row, i in asked
        if self._l.llama_decode(self._context, batch):
            raise SystemExit("llama.cpp could not decode")

    def _drawn(self, places: Iterable[int]) -> list[int]:
        return [self._l.llama_sampler_sample(self._greedy, self._context, place) for place in places]


if __name__ == "__main__":
    main()
