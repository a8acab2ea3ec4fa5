"""The command ``planner``: plans in the browser."""

import contextlib
import signal
import socket
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from echolith.errors import BadInputError


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
        # Ctrl-C is how it is meant to end: uvicorn closes, then passes the interrupt on.
        with contextlib.suppress(KeyboardInterrupt):
            # A shell's background jobs begin with interrupts ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            typer.echo(f"planner: {address} (Ctrl-C stops it)")
            if open_page:
                typer.launch(address)
            server.run(sockets=[listening])
        app.state.jobs.close()


def _listening(port: int) -> socket.socket:
    """Return a socket that only this machine reaches."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise BadInputError(
            f"port {port} cannot be listened at ({error.strerror}); choose another, or none"
        ) from error
