"""A run's report, shown as if it came from nowhere: it may have been written by anybody.

The page is sandboxed by its own policy, so that what runs in it has none of the visitor's cookies and can ask
for nothing.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from danlu.serve.studio.address import ROOT
from danlu.serve.studio.entrance import sign_in_address
from danlu.serve.studio.run_records import MOST_BYTES, REPORT, find_run
from danlu.serve.studio.studio import Studio
from danlu.serve.studio.visit import SESSION

SANDBOX = "; ".join(
    (
        "sandbox allow-scripts",
        "default-src 'none'",
        "script-src 'unsafe-inline'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "font-src data:",
        "frame-ancestors 'none'",
    )
)


def report_routes(studio: Studio) -> APIRouter:
    """The route of reports, for those who may see runs."""
    router = APIRouter()

    @router.get(f"{ROOT}/report")
    def report(request: Request, run: str = "") -> Response:
        person = studio.visitor(request.cookies.get(SESSION, ""))
        if person is None:
            return RedirectResponse(sign_in_address(f"{ROOT}/runs"), 303)
        if "train" not in person.scopes:
            return Response(status_code=403)
        found = None if studio.workshop is None else find_run(studio.workshop.runs, run)
        if found is None or not found.has_report or (found.path / REPORT).stat().st_size > MOST_BYTES:
            return Response(status_code=404)
        text = (found.path / REPORT).read_text(encoding="utf-8", errors="replace")
        return HTMLResponse(text, headers={"Content-Security-Policy": SANDBOX})

    return router
