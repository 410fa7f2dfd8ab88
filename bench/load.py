"""Many streams at once on `danlu serve`: is any lost or mixed up, does health answer, is a slot freed?

    python bench/load.py runs/demo [--streams 200] [--minutes 10]

The model is an untrained one of 15 M parameters with the tokenizer of a finished `danlu run`. Each stream
asks for 64 tokens of a prompt and seed of its own, over and over; every tenth time it hangs up after a few
tokens. Answers are compared with those of the same requests asked alone, before. At the end SIGTERM comes
while all streams run: what had begun must be finished, and the server must end by itself. Exit code 1 if
anything was lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import monotonic, perf_counter

import httpx

from danlu.model.heads import LanguageModel
from danlu.recipes.pretrain import Shape
from danlu.recipes.stage import chat_format_of, publish

SMALL = Shape(d_model=384, n_layers=8, n_heads=6, n_kv_heads=6, head_dim=64, d_ff=1024)
N_TOKENS = 64
N_PROMPTS = 40  # different ones, so that answers can be known beforehand
HANGS_UP_AFTER = 5  # tokens


@dataclass(slots=True)
class Tally:
    """What happened."""

    whole: int = 0
    cut: int = 0  # by hanging up
    wrong: list[str] = field(default_factory=list[str])
    first_s: list[float] = field(default_factory=list[float])
    health_s: list[float] = field(default_factory=list[float])


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = chat_format_of(arguments.run / "sft" / "model").tokenizer
        model = LanguageModel(SMALL.model_config(tokenizer.vocab_size), seed=0)
        print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
        publish(model, tokenizer, Path(folder) / "model")
        server, address = start(Path(folder) / "model")
        try:
            tally = asyncio.run(load(address, server, arguments.streams, 60 * arguments.minutes))
        finally:
            server.kill()
    report(tally, arguments)


def start(model: Path) -> tuple[subprocess.Popen[str], str]:
    """A server of that model, and where it answers."""
    settings = (
        "name=model",
        "port=0",
        "limits.requests_per_key=1024",
        "limits.sequences=1024",
        "limits.drain_s=120",
    )
    command = [sys.executable, "-m", "danlu", "serve", str(model), *settings]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    found = re.search(r"http://\S+", server.stdout.readline())
    if not found:
        raise SystemExit(f"the server ended with code {server.wait()}")
    return server, found[0]


async def load(address: str, server: subprocess.Popen[str], n_streams: int, seconds: float) -> Tally:
    tally, limits = Tally(), httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=None) as client:
        expected = [await answer(client, number) for number in range(N_PROMPTS)]
        until, memory_before = monotonic() + seconds, resident_mb(server)
        health = asyncio.create_task(watch(client, tally, until))
        streams = [stream(client, i, expected, tally, until) for i in range(n_streams)]
        await asyncio.gather(*streams, health)
        print(f"server: {memory_before:.0f} MB before, {resident_mb(server):.0f} MB after")
        await hanging_up(client, tally)
        await draining(client, server, n_streams, expected, tally)
    return tally


async def stream(
    client: httpx.AsyncClient, number: int, expected: Sequence[str], tally: Tally, until: float
) -> None:
    """One client: asks again and again; every tenth time it hangs up."""
    turn = number
    while monotonic() < until:
        turn += 1
        text, begun, hangs_up = "", perf_counter(), turn % 10 == 0
        async with aclosing(pieces(client, turn % N_PROMPTS)) as coming:
            n = 0
            async for piece in coming:
                if not n:
                    tally.first_s.append(perf_counter() - begun)
                text, n = text + piece, n + 1
                if hangs_up and n == HANGS_UP_AFTER:
                    break
        whole = expected[turn % N_PROMPTS]
        if not (whole.startswith(text) if hangs_up else whole == text):
            tally.wrong.append(f"stream {number}, prompt {turn % N_PROMPTS}: {text!r} is not {whole!r}")
        tally.cut, tally.whole = tally.cut + hangs_up, tally.whole + (not hangs_up)


async def pieces(client: httpx.AsyncClient, number: int) -> AsyncGenerator[str]:
    """The text of one answer as it comes; an answer that breaks off or fails is an error."""
    async with client.stream("POST", "/completions", json=body(number)) as response:
        if response.status_code != 200:
            raise RuntimeError(f"status {response.status_code}: {(await response.aread())[:200]!r}")
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                return
            if line.startswith("data: "):
                yield json.loads(line[6:])["choices"][0]["text"]
    raise RuntimeError("the answer broke off")


async def answer(client: httpx.AsyncClient, number: int) -> str:
    return "".join([piece async for piece in pieces(client, number)])


def body(number: int) -> dict[str, object]:
    prompt = f"{number} " + "Once upon a time there was a river 从前有一条河 " * (number % 5 + 1)
    return {
        "model": "model",
        "prompt": prompt,
        "max_tokens": N_TOKENS,
        "seed": number,
        "temperature": 0.5,
        "stream": True,
        "logit_bias": {},
    }


async def watch(client: httpx.AsyncClient, tally: Tally, until: float) -> None:
    """Ask for health ten times a second."""
    root = str(client.base_url).removesuffix("v1/")
    while monotonic() < until:
        begun = perf_counter()
        (await client.get(f"{root}health")).raise_for_status()
        tally.health_s.append(perf_counter() - begun)
        await asyncio.sleep(0.1)


async def hanging_up(client: httpx.AsyncClient, tally: Tally) -> None:
    """After all have gone, nothing may run any more."""
    for number in range(8):
        async with aclosing(pieces(client, number)) as coming:
            await anext(coming)
    begun, root = perf_counter(), str(client.base_url).removesuffix("v1/")
    while (running := await unfinished(client, root)) and perf_counter() - begun < 5:
        await asyncio.sleep(0.01)
    print(f"nothing ran {1000 * (perf_counter() - begun):.0f} ms after the last of 8 had hung up")
    if running:
        tally.wrong.append(f"{running} completions go on for nobody")


async def unfinished(client: httpx.AsyncClient, root: str) -> int:
    text = (await client.get(f"{root}metrics")).text
    found = re.search(r"^danlu_sequences_unfinished\S* (\S+)$", text, re.MULTILINE)
    if found is None:
        raise SystemExit("the metrics do not say how many sequences are unfinished")
    return int(float(found[1]))


async def draining(
    client: httpx.AsyncClient,
    server: subprocess.Popen[str],
    n_streams: int,
    expected: Sequence[str],
    tally: Tally,
) -> None:
    """SIGTERM in the middle: what has begun is finished, and the process ends by itself."""
    begun = [asyncio.create_task(answer(client, i % N_PROMPTS)) for i in range(n_streams)]
    root = str(client.base_url).removesuffix("v1/")
    while await unfinished(client, root) + sum(each.done() for each in begun) < n_streams:
        await asyncio.sleep(0.01)
    server.send_signal(signal.SIGTERM)
    found = await asyncio.gather(*begun, return_exceptions=True)
    lost = [each for i, each in enumerate(found) if each != expected[i % N_PROMPTS]]
    code = await asyncio.to_thread(server.wait, 30)
    print(f"SIGTERM: {len(found) - len(lost)} of {n_streams} answers were finished, exit code {code}")
    tally.wrong += [f"draining: {each!r}" for each in lost] + ([f"exit code {code}"] if code else [])


def resident_mb(server: subprocess.Popen[str]) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def report(tally: Tally, arguments: argparse.Namespace) -> None:
    health, seconds = [1000 * each for each in tally.health_s], 60 * arguments.minutes
    print(f"{arguments.streams} streams, {arguments.minutes:g} minutes")
    print(f"{tally.whole} answers whole, {tally.cut} hung up on, {len(tally.wrong)} wrong")
    print(f"{tally.whole * N_TOKENS / seconds:.0f} tokens/s in whole answers")
    print(f"first token after {median(tally.first_s):.2f} s (median)")
    print(
        f"/health: p99 {quantiles(health, n=100)[98]:.0f} ms of {len(health)}, longest {max(health):.0f} ms"
    )
    for each in tally.wrong[:10]:
        print(each)
    raise SystemExit(1 if tally.wrong else 0)


def parse_arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("run", type=Path, help="directory of a finished `danlu run` in the embedded world")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
