"""What `danlu serve` adds to a token: the same requests over HTTP and in process, in turns.

    python bench/first_token.py runs/demo [--rounds 40] [--studio]

The model is an untrained one of 15 M parameters with the tokenizer of a finished `danlu run`. One stream at
a time: a chat over a connection that is kept open, and the same chat given to an engine in this process,
made by the same function with the same settings; making ids of the chat counts on both sides. Every round
has a prompt that nobody has read before and draws greedily, so both sides make the same tokens. With
--studio the same also through a reply of the studio, in a fresh process as the server's is, watched as its
page does it: text is looked for every `POLL_S` and formatted. A first token of the studio is one that the
reply has; until it is seen, up to `POLL_S` and the browser's time come on top.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles
from time import monotonic, perf_counter
from typing import Any
from urllib.parse import urlsplit

from load import SMALL, start

from danlu.feedback.records import Conversation, Message
from danlu.feedback.store import Store
from danlu.generate.request import Request
from danlu.generate.sampling import SamplingConfig
from danlu.model.heads import LanguageModel
from danlu.recipes.serving import load_served
from danlu.recipes.stage import chat_format_of, publish
from danlu.recipes.tool_settings import ToolsConfig
from danlu.serve.api.limits import Limits
from danlu.serve.api.service import Served, Service
from danlu.serve.api.vocabulary import Vocabulary
from danlu.serve.studio.pace import Pace
from danlu.serve.studio.replies import Draft, Replies, Sampling
from danlu.serve.studio.rich_text import rich
from danlu.serve.studio.voice import Voice
from danlu.tokenizer.chat import Message as Turn

N_TOKENS = 64
N_WARM = 3  # rounds that do not count
GREEDY = SamplingConfig(max_new_tokens=N_TOKENS, temperature=0)
Turns = list[Turn]


@dataclass(frozen=True, slots=True)
class Timing:
    """One answer: seconds to its first token, and from there to each later one."""

    first_s: float
    token_s: float


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        tokenizer = chat_format_of(arguments.run / "sft" / "model").tokenizer
        publish(LanguageModel(SMALL.model_config(tokenizer.vocab_size), seed=0), tokenizer, path)
        served = loaded(path)
        chats = usable_chats(served, arguments.rounds + N_WARM)
        server, address = start(path)
        try:
            in_process, over_http = take_turns(served, address, chats)
        finally:
            server.kill()
            server.wait()
        report("in process", in_process)
        report("over HTTP", over_http)
        report_difference("HTTP adds", in_process, over_http)
        if arguments.studio:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as beside:
                in_studio = beside.submit(studio_timings, path, chats, Path(folder)).result()[N_WARM:]
            report("in the studio", in_studio)
            report_difference("the studio adds to HTTP", over_http, in_studio)


def loaded(path: Path) -> Served:
    return load_served(path, reward_model=None, adapters={}, sampling=GREEDY, tools=ToolsConfig())


def take_turns(served: Served, address: str, chats: list[Turns]) -> tuple[list[Timing], list[Timing]]:
    """Both sides' timings of each chat; every other time the other goes first."""
    place = urlsplit(address)
    in_process: list[Timing] = []
    over_http: list[Timing] = []
    with closing(HTTPConnection(place.hostname or "", place.port)) as connection:
        for number, chat in enumerate(chats):
            if number % 2:
                over_http.append(ask_server(connection, chat))
            in_process.append(ask_engine(served, chat))
            if not number % 2:
                over_http.append(ask_server(connection, chat))
    return in_process[N_WARM:], over_http[N_WARM:]


def usable_chats(served: Served, n: int) -> list[Turns]:
    """Questions whose answers have all their tokens, the first being text by itself: else it is not sent."""
    vocabulary, found, number = Vocabulary(served.chat.tokenizer), list[Turns](), 0
    while len(found) < n:
        number += 1
        # The number comes first, so that a cache of prefixes has hardly anything of it.
        chat: Turns = [{"role": "user", "content": f"{number}: once upon a time 从前有一条河 " * 8}]
        ids = said(served, request_of(served, chat, salt="choosing"))
        if len(ids) == N_TOKENS and is_text(vocabulary.bytes_of[ids[0]]):
            found.append(chat)
        if number > 20 * n:
            raise SystemExit("hardly any answer of this model begins with text; take another tokenizer")
    return found


def is_text(raw: bytes) -> bool:
    return bool(raw) and "\ufffd" not in raw.decode(errors="replace")


def request_of(served: Served, chat: Turns, salt: str = "") -> Request:
    """What the API makes of such a chat."""
    control_ids, stop_ids = served.chat.tokenizer.control_ids, served.chat.stop_ids
    return Request(
        prompt_ids=tuple(served.chat.prompt(chat)),
        sampling=GREEDY,
        stop_ids=stop_ids,
        forbidden_ids=control_ids - stop_ids,
        salt=salt,
    )


def said(served: Served, request: Request) -> list[int]:
    engine = served.engine
    assert engine is not None
    engine.add(request)
    ids: list[int] = []
    while engine.n_unfinished:
        ids += [event.token.id for event in engine.step() if event.token is not None]
    return ids


def ask_engine(served: Served, chat: Turns) -> Timing:
    """An answer of the engine in this process, with nothing around it but making ids of the chat."""
    engine = served.engine
    assert engine is not None
    begun = perf_counter()
    engine.add(request_of(served, chat))
    while not any(event.token for event in engine.step()):
        pass
    first = perf_counter()
    while engine.n_unfinished:
        engine.step()
    return Timing(first - begun, (perf_counter() - first) / (N_TOKENS - 1))


def ask_server(connection: HTTPConnection, chat: Turns) -> Timing:
    """An answer over HTTP, from sending the request to the chunk that has its end."""
    body = {
        "model": "model",
        "messages": chat,
        "max_tokens": N_TOKENS,
        "temperature": 0,
        "stream": True,
    }
    headers = {"Content-Type": "application/json"}
    keep_open(connection)
    begun = perf_counter()
    connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
    first = last = None
    for choice in chunks(connection.getresponse()):
        if first is None and choice["delta"].get("content"):
            first = perf_counter()
        if choice["finish_reason"] is not None:
            last = perf_counter()
    if first is None or last is None:
        raise SystemExit("the server's answer broke off")
    return Timing(first - begun, (last - first) / (N_TOKENS - 1))


def keep_open(connection: HTTPConnection) -> None:
    """Ask for something small; a server closes what was idle for long, and connecting is not to be timed."""
    for _ in range(2):
        try:
            connection.request("GET", "/health")
            connection.getresponse().read()
            return
        except ConnectionError:
            connection.close()  # the next request connects again


def chunks(response: HTTPResponse) -> Iterator[Mapping[str, Any]]:
    """The choice of each chunk; the response is read to its end, so that the connection can be used again."""
    if response.status != 200:
        raise SystemExit(f"status {response.status}: {response.read()[:300]!r}")
    while line := response.readline():
        if line.startswith(b"data: {"):
            yield from json.loads(line[6:])["choices"]


def studio_timings(path: Path, chats: list[Turns], folder: Path) -> list[Timing]:
    """As `through_studio`, with an engine that this process has for itself."""
    return asyncio.run(through_studio(loaded(path), chats, folder))


async def through_studio(served: Served, chats: list[Turns], folder: Path) -> list[Timing]:
    """The timings of replies as a page of the studio gets them."""
    from danlu.serve.studio.turns import POLL_S  # this part alone takes the extra `studio`

    service = Service(served, Limits())
    voice = Voice(digest="0" * 64, service=service)
    sampling = Sampling(temperature=0, top_p=1, max_tokens=N_TOKENS)
    found: list[Timing] = []
    with Store.open(str(folder / "feedback.db")) as store:
        async with service.running():
            replies = Replies(store)
            for chat in chats:
                place = asked(store, str(chat[0]["content"]))
                begun = monotonic()
                draft = await replies.begin(voice, "somebody", place, chat, sampling)
                await watch(draft, POLL_S)
                if draft.first is None or draft.n_tokens != N_TOKENS:
                    raise SystemExit(f"the reply has {draft.n_tokens} tokens; {draft.error}")
                found.append(Timing(draft.first - begun, draft.seconds / (N_TOKENS - 1)))
    return found


def asked(store: Store, question: str) -> Message:
    """Where the reply to a new conversation's only question will stand."""
    conversation = store.add("somebody", Conversation()).id
    turn = Message(conversation=conversation, role="user", content=question)
    parent = store.add("somebody", turn).id
    return Message(conversation=conversation, parent=parent, role="assistant", content="")


async def watch(draft: Draft, every_s: float) -> None:
    """What the chat's page does meanwhile."""
    shown, pace = 0, Pace()
    while not draft.finished:
        await asyncio.sleep(every_s)
        if len(draft.text) != shown and pace.due:
            shown = len(draft.text)
            with pace.measured():
                rich(draft.text, copy="copy", thoughts="thoughts")


def report(name: str, timings: list[Timing]) -> None:
    print(
        f"{name}: first token {quartiles([1000 * each.first_s for each in timings])} ms, "
        f"each later one {quartiles([1000 * each.token_s for each in timings])} ms"
    )


def report_difference(name: str, without: list[Timing], with_it: list[Timing]) -> None:
    """What one side takes more than the other, chat by chat."""
    pairs = list(zip(without, with_it, strict=True))
    first = quartiles([1000 * (b.first_s - a.first_s) for a, b in pairs])
    share = quartiles([100 * (b.token_s / a.token_s - 1) for a, b in pairs])
    print(f"{name}: {first} ms to the first token, {share} % to each later one")


def quartiles(values: list[float]) -> str:
    low, middle, high = quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def parse_arguments() -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("run", type=Path, help="directory of a finished `danlu run` in the embedded world")
    parser.add_argument("--rounds", type=int, default=40, help="chats that count; at least 2")
    parser.add_argument("--studio", action="store_true", help="also through a reply of the studio")
    return parser.parse_args()


if __name__ == "__main__":
    main()
