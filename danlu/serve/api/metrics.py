"""What the server counts, for Prometheus.

Labels have few values, routes and statuses: nothing that a client writes.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "danlu_http_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.request_s = Histogram(
            "danlu_http_request_seconds",
            "Time to the end of the answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.first_token_s = Histogram(
            "danlu_first_token_seconds",
            "Time from the queue to the first token.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter("danlu_tokens", "Tokens read and made.", ["kind"], registry=self.registry)
        self.left = Counter(
            "danlu_clients_left", "Requests whose client left before the end.", registry=self.registry
        )
        self.unfinished = Gauge(
            "danlu_sequences_unfinished", "Completions that wait or run.", registry=self.registry
        )

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """Middleware: counts and times every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status = ["none"]

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = str(message["status"])
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, status[0]).inc()
            self._metrics.request_s.labels(route).observe(time.perf_counter() - began)
