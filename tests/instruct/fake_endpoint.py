"""An endpoint in the shape of OpenAI's API on a free port of this machine, which answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """What the user said, or the text to go on with."""
        return self.body["prompt"] if "prompt" in self.body else self.body["messages"][-1]["content"]


@dataclass
class Answer:
    """What is sent back."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    send: Callable[[Any], None] | None = None  # writes the body in its own way


Script = Callable[[Asked], Answer]


def said(text: Any, finish_reason: Any = "stop") -> Answer:
    """A well-formed answer."""
    choice = {"message": {"role": "assistant", "content": text}, "text": text, "finish_reason": finish_reason}
    return Answer(json.dumps({"choices": [choice]}).encode())


@dataclass
class FakeEndpoint:
    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def running(script: Script) -> Iterator[FakeEndpoint]:
    """A server for as long as it is needed."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.asked.append(Asked(self.path, dict(self.headers), body))
            answer = script(endpoint.asked[-1])
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.send is None:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            (answer.send or self.wfile.write)(self.wfile if answer.send else answer.body)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint = FakeEndpoint(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
