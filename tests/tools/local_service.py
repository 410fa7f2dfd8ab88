"""A small HTTP service on this machine that answers as it is told, well or badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: Any


@dataclass
class Service:
    """Where it listens, what it was asked, and what it answers."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b'{"ok": true}'
    drip_s: float = 0.0  # between one byte of the body and the next

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def handle_all(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(size)
            service.asked.append(
                Asked(self.command, self.path, dict(self.headers), json.loads(raw) if raw else None)
            )
            self.send_response(service.status)
            for name, value in service.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                if not service.drip_s:
                    self.wfile.write(service.body)
                for byte in service.body if service.drip_s else b"":
                    self.wfile.write(bytes([byte]))
                    time.sleep(service.drip_s)
            except OSError:  # the client has had enough
                return

        do_GET = do_POST = do_DELETE = handle_all

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
