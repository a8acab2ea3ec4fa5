"""The planner's page: a server for one person on their own machine.

It listens on the loopback only, answers nobody who calls it by another name (a foreign page whose
name leads here), and no page of another origin. Numerical work runs in processes of its own.
"""

import time
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response

from echolith.errors import BadInputError
from echolith.validation.catalogue import entry, scenarios
from echolith.validation.page import json_text, rendered
from echolith.validation.planner_bounds import Known, live_bound, status
from echolith.validation.planner_form import form
from echolith.validation.planner_jobs import Job, Jobs, State
from echolith.validation.planner_reading import Refused, Wish, command, read
from echolith.validation.planner_requests import Asked, AskedBound
from echolith.validation.planner_work import Base, plan_of, preview

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
JobName = Annotated[str, InPath(max_length=300)]
Answer = Callable[[Request], Awaitable[Response]]


def planner_app(*, port: int, store: Path) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    port : int
        That it is called at.
    store : Path
        Folder for bounds.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    known, jobs = Known(), Jobs()
    app.state.jobs = jobs
    own = {f"{host}:{port}" for host in ("127.0.0.1", "localhost")}

    @app.middleware("http")
    async def guard(request: Request, answer: Answer) -> Response:
        foreign = _foreign(request, own)
        response = _refusal(foreign, 403) if foreign else await answer(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> Response:
        return JSONResponse({"errors": error.errors}, status_code=422)

    @app.exception_handler(BadInputError)
    async def bad_input(_request: Request, error: BadInputError) -> Response:
        return _refusal(str(error), 422)

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> Response:
        return _refusal("; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors()), 422)

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(rendered("planner.html.j2"))

    @app.get("/{name}.js")
    def script(name: str) -> Response:
        if name not in ("planner", "planner_chart"):
            raise HTTPException(404)
        text = (files("echolith.validation") / f"{name}.js").read_text(encoding="utf-8")
        return Response(text, media_type="text/javascript")

    @app.get("/api/scenarios")
    def listed() -> dict[str, Any]:
        return {"scenarios": plannable()}

    @app.get("/api/form/{name}")
    def form_of(name: str) -> dict[str, Any]:
        return _form(name)

    @app.post("/api/bound")
    def bound(asked: AskedBound) -> dict[str, Any]:
        start = time.perf_counter()
        wish = read(asked)
        found = live_bound(known, jobs, _base(asked, wish, store), wish, page=asked.page)
        took = 1e3 * (time.perf_counter() - start)
        return {"number": asked.number, "milliseconds": took, **found}

    @app.post("/api/plan")
    def make_plan(asked: Asked) -> dict[str, Any]:
        wish = read(asked)
        missing = {
            "form": "choose a setting to go through, e.g. the dose" if not wish.over else "",
            "target": "give the error that a quantity may have" if wish.target is None else "",
        }
        if any(missing.values()):
            raise Refused({place: text for place, text in missing.items() if text})
        assert wish.target is not None
        job = jobs.start(
            f"{asked.page}/plan",
            plan_of,
            _base(asked, wish, store),
            {
                "over": wish.over,
                "target": dict(wish.target.errors),
                "share": wish.target.share,
                "budget": wish.budget,
                "least": asked.least,
                "factor": wish.factor,
            },
            wish.trial,
        )
        return {"job": status(job), "command": command(asked)}

    @app.post("/api/preview")
    def make_preview(asked: Asked) -> dict[str, Any]:
        wish = read(asked)
        base = _base(asked, wish, store)
        return {"job": status(jobs.start(f"{asked.page}/preview", preview, base, wish.point))}

    @app.get("/api/jobs/{page}/{name}")
    def job_of(page: JobName, name: JobName) -> dict[str, Any]:
        job = _job(jobs, f"{page}/{name}")
        result = {} if job.result is None else job.result
        return {"job": status(job), "result": {k: v for k, v in result.items() if k != "page"}}

    @app.delete("/api/jobs/{page}/{name}")
    def end(page: JobName, name: JobName) -> dict[str, Any]:
        job = _job(jobs, f"{page}/{name}")
        job.end()
        return {"job": status(job)}

    @app.delete("/api/jobs/{page}")
    def leave(page: JobName) -> dict[str, Any]:
        jobs.close(f"{page}/")
        return {}

    @app.get("/api/jobs/{page}/{name}/page.html")
    def job_page(page: JobName, name: JobName) -> HTMLResponse:
        return HTMLResponse(_result(jobs, f"{page}/{name}", "page"))

    @app.get("/api/jobs/{page}/{name}/plan.json")
    def job_plan(page: JobName, name: JobName) -> Response:
        text = json_text(_result(jobs, f"{page}/{name}", "summary"))
        return Response(text, media_type="application/json")

    return app


def _foreign(request: Request, own: set[str]) -> str:
    """Return why a request is not from the planner's own page; empty: it is."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if host not in own:
        return f"this server is not {host!r}; call it by the address it printed"
    if origin is not None and origin not in {f"http://{name}" for name in own}:
        return f"pages of {origin!r} may not ask this server"
    asks = request.url.path.startswith("/api")
    if asks and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "another page may not ask this server"
    return ""


def _refusal(message: str, code: int) -> JSONResponse:
    return JSONResponse({"errors": {"form": message}}, status_code=code)


@cache
def plannable() -> list[dict[str, str]]:
    """Return the scenarios that have a bound: name and summary."""
    return [
        {"name": name, "summary": found.summary}
        for name, found in scenarios().items()
        if found.make(found.settings()).information is not None
    ]


@cache
def _form(name: str) -> dict[str, Any]:
    chosen = entry(name)
    return form(chosen, chosen.make(chosen.settings()))


def _base(asked: Asked, wish: Wish, store: Path) -> Base:
    settings = wish.scenario.settings
    return Base(
        name=asked.scenario,
        settings=settings,
        seed=asked.seed,
        critical_dose=wish.budget.critical,
        store=store,
        key=settings.model_dump_json(),
    )


def _job(jobs: Jobs, name: str) -> Job:
    job = jobs.get(name)
    if job is None:
        raise HTTPException(404, "this result is no longer kept; ask again")
    return job


def _result(jobs: Jobs, name: str, part: str) -> Any:
    job = _job(jobs, name)
    if job.state is not State.DONE or part not in job.result:
        raise HTTPException(404, "there is no such result")
    return job.result[part]
