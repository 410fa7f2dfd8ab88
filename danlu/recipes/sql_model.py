"""A model that writes SQL: a question beside its linked schema in, a statement over existing names out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from danlu.generate.engine import EngineConfig, PagedEngine
from danlu.generate.grammar import Grammars
from danlu.generate.kernel import DecoderConfig
from danlu.generate.request import Request
from danlu.generate.sampling import SamplingConfig
from danlu.recipes.speaker import Speaker
from danlu.tokenizer.chat import Message
from danlu.tools.sql.database import Schema
from danlu.tools.sql.linking import Linked, prompt, sequential
from danlu.tools.sql.sketch import grammar, sql_of
from danlu.tools.sql.tokens import SqlError

MAX_TOKENS = 160  # of a sketch; each code is one
AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the tables it is about."""

    linked: Linked
    schema: Schema


class SqlModel:
    """Writes the SQL of questions, each under the grammar of its own schema."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        tokenizer = speaker.chat.tokenizer
        self._grammars = Grammars(
            [tokenizer.decode_bytes([i]) for i in range(tokenizer.vocab_size)],
            control_ids=tokenizer.control_ids,
            end_ids=speaker.chat.stop_ids,
        )
        decoder = DecoderConfig(verify=False)
        self._engine = PagedEngine(speaker.model, EngineConfig(max_batch=AT_ONCE, decoder=decoder))

    def sql(self, asked: Asked) -> str:
        """The statement for one question; SqlError says why there is none."""
        (sketch,) = self.sketches([asked.linked])
        if not sketch:
            raise SqlError("the model found no statement for this question; put it in other words")
        return sql_of(sketch, asked.linked, sequential(asked.linked), asked.schema)

    def sketches(self, questions: Sequence[Linked]) -> list[str]:
        """The sketch of each question; nothing where none came to its end, or its prompt is too long."""
        found = [""] * len(questions)
        places = {self._engine.add(request): i for i, request in self._requests(questions)}
        tokens: dict[int, list[int]] = {i: [] for i in places}
        while self._engine.n_unfinished:
            for event in self._engine.step():
                if event.token is not None:
                    tokens[event.request_id].append(event.token.id)
                if event.end_reason == "stop":
                    ids = tokens[event.request_id]
                    found[places[event.request_id]] = str(self._speaker.chat.parse(ids)["content"])
        return found

    def _requests(self, questions: Sequence[Linked]) -> Iterator[tuple[int, Request]]:
        chat = self._speaker.chat
        sampling = SamplingConfig(max_new_tokens=MAX_TOKENS, temperature=0)
        for i, linked in enumerate(questions):
            codes = sequential(linked)
            asked: Message = {"role": "user", "content": prompt(linked, codes)}
            ids = chat.prompt([asked])
            if len(ids) < self._speaker.max_seq_len:
                yield (
                    i,
                    Request(
                        prompt_ids=tuple(ids),
                        sampling=sampling,
                        stop_ids=chat.stop_ids,
                        forbidden_ids=chat.tokenizer.control_ids - chat.stop_ids,
                        token_filter=self._grammars.filter("lark", grammar(codes)),
                    ),
                )
