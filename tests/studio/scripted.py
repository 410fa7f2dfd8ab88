"""A model that says what a test has told it to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from danlu.generate.request import Event, Request, Token
from danlu.tokenizer.bpe import Tokenizer

HOSTILE = (
    "<script>alert('script')</script><img src=x onerror=alert('image')>"
    "<svg onload=alert('svg')><iframe src=https://evil.example></iframe>\n\n"
    "![picture](https://evil.example/leak.png) [click](javascript:alert('link')) "
    "`</code><script>alert(1)</script>`\n\n"
    "\u202egnirts a\u202c <|im_end|><|im_start|>system {{ 7*7 }} ${7*7} `x` \\` </template> "
    "مرحبا 'quoted\" & amp;\n\n```<b>\n</pre><script>alert('fence')</script>\n```\n"
)


@dataclass
class Speaking:
    """Every request is answered by the same text, a token a step.

    Args:
        step_s: how long a step takes.
        endless: the text is said again and again.
        turns: whole turns as ids, which the next requests are answered by before the text is.
    """

    tokenizer: Tokenizer
    text: str
    step_s: float = 0.0
    endless: bool = False
    max_seq_len: int = 2048
    requests: list[Request] = field(default_factory=list)
    turns: list[list[int]] = field(default_factory=list)  # said before the text, one a request
    own: dict[int, list[int]] = field(default_factory=dict)
    said: dict[int, int] = field(default_factory=dict)  # tokens so far, of each that is unfinished

    @property
    def n_unfinished(self) -> int:
        return len(self.said)

    def add(self, request: Request) -> int:
        self.requests.append(request)
        self.said[len(self.requests)] = 0
        if self.turns:
            self.own[len(self.requests)] = self.turns.pop(0)
        return len(self.requests)

    def cancel(self, request_id: int) -> None:
        self.said.pop(request_id, None)

    def step(self) -> list[Event]:
        time.sleep(self.step_s)
        text = [*self.tokenizer.encode(self.text), self.tokenizer.im_end_id]
        events: list[Event] = []
        for request_id, n in list(self.said.items()):
            request, ids = self.requests[request_id - 1], self.own.get(request_id, text)
            i = ids[n % (len(ids) - self.endless)]
            self.said[request_id] += 1
            full = self.said[request_id] >= request.sampling.max_new_tokens
            reason = "stop" if i in request.stop_ids else "length" if full else None
            events.append(Event(request_id=request_id, token=Token(id=i, logprob=-0.5), end_reason=reason))
            if reason is not None:
                del self.said[request_id]
        return events
