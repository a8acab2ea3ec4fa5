"""The command ``planner``: plans in the browser."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echolith.errors import BadInputError

if TYPE_CHECKING:
    import uvicorn


def planner(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="To listen at; any free one by default.")
    ] = 0,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Plan in the browser: a page on this machine, which nobody else can reach."""
    import uvicorn

    from echolith.validation.planner_server import planner_app

    with _listening(port) as listening, tempfile.TemporaryDirectory() as folder:
        port = listening.getsockname()[1]
        app = planner_app(port=port, store=Path(folder))
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
        )
        address = f"http://127.0.0.1:{port}/"

        def announce() -> None:
            typer.echo(f"planner: {address} (Ctrl-C stops it)")
            if open_page:
                typer.launch(address)

        # Ctrl-C is how it is meant to end: uvicorn closes, then passes the interrupt on.
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_served(server, listening, announce))
        app.state.jobs.close()


async def _served(
    server: "uvicorn.Server", listening: socket.socket, announce: Callable[[], None]
) -> None:
    """Serve; announce it when an interrupt would end it in good order."""
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.01)
    if server.started:
        announce()
    await serving


def _listening(port: int) -> socket.socket:
    """Return a socket that only this machine reaches."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise BadInputError(
            f"port {port} cannot be listened at ({error.strerror}); choose another, or none"
        ) from error
