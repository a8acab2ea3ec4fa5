"""The planner's page served on a free port of this machine, for tests."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from echolith.validation.planner_server import planner_app

LONGEST = 60.0
"""Seconds after which a test gives a job up."""


@dataclass(frozen=True)
class Planner:
    """An address and how to ask there."""

    port: int
    folder: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        content: Any = None,
        *,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return status and content of an answer."""
        data = None if content is None else json.dumps(content).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(self.address + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=LONGEST) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def bound(self, content: dict[str, Any], *, wait: bool = True) -> dict[str, Any]:
        """Return the answer about a bound, once all of it is known."""
        end = time.monotonic() + LONGEST
        while True:
            code, found = self.ask("/api/bound", {"number": 1, **content})
            assert code == 200, found
            if not wait or found["job"] is None:
                return dict(found)
            assert found["job"]["state"] in ("running", "done"), found["job"]
            assert time.monotonic() < end
            time.sleep(0.05)

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the answer about a job that has come to an end."""
        end = time.monotonic() + LONGEST
        while True:
            code, found = self.ask(f"/api/jobs/{job['name']}")
            assert code == 200, found
            if found["job"]["state"] != "running":
                return dict(found)
            assert time.monotonic() < end
            time.sleep(0.05)


@contextmanager
def served(folder: Path) -> Iterator[Planner]:
    """Serve the page from a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        app = planner_app(port=port, store=folder)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Planner(port, folder)
        finally:
            app.state.jobs.close()
            server.should_exit = True
            thread.join()
