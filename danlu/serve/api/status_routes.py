"""Who and how the server is: models, health, readiness, metrics."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from danlu.serve.api import responses
from danlu.serve.api.body import StrictRoute
from danlu.serve.api.errors import RESPONSES
from danlu.serve.api.service import Service


def status_routes(service: Service) -> APIRouter:
    """The routes about the server itself."""
    router = APIRouter(route_class=StrictRoute, responses=RESPONSES)

    @router.get("/v1/models", response_model=responses.ModelList)
    async def models() -> responses.ModelList:
        """The model and its adapters."""
        return responses.ModelList(data=[_model(service, name) for name in service.models])

    @router.get("/v1/models/{model:path}", response_model=responses.Model)
    async def one_model(model: str) -> responses.Model:
        """One of them."""
        service.check_model(model)
        return _model(service, model)

    @router.get("/health", response_model=responses.Health)
    async def health() -> responses.Health:
        """That the server answers, whatever becomes of the model."""
        return responses.Health(status="ok")

    @router.get("/ready", response_model=responses.Health, responses={503: {"model": responses.Health}})
    async def ready() -> Response:
        """Whether it takes requests: 200, or 503 while it starts, drains, or its engine has failed."""
        return JSONResponse({"status": service.state}, 200 if service.state == "ready" else 503)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}})
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router


def _model(service: Service, name: str) -> responses.Model:
    served = service.served
    return responses.Model(
        id=name,
        created=service.created,
        max_model_len=served.max_seq_len,
        translates=None if served.translating is None else list(served.translating.directions),
    )
