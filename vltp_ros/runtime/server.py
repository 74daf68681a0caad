"""The model's process: makes a session, and does with it what the node's process asks for."""

from __future__ import annotations

import contextlib
import signal
import sys
from multiprocessing.connection import Connection
from pkgutil import resolve_name
from typing import Any

from vltp_ros.processes import end_with_parent
from vltp_ros.runtime.allocator import keep_freed_memory
from vltp_ros.runtime.checks import NotFiniteError
from vltp_ros.runtime.exchange import Exchange, SharedMemory
from vltp_ros.runtime.protocol import Reply, Request, Start, State


def main() -> int:
    """Serve until the connection ends; return the exit status.

    The arguments are file descriptors: a socket, the memory that the other process writes, and
    that which this one does.
    """
    end_with_parent()  # a model that is stuck would keep its memory, and the GPU's, for good
    keep_freed_memory()
    # The node hears these too, and ends the connection once its work is done.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    socket, theirs, own = map(int, sys.argv[1:4])
    with contextlib.suppress(EOFError, ConnectionError):  # the other end is gone
        serve(Exchange(Connection(socket), SharedMemory(own), SharedMemory(theirs)))
    return 0


def serve(exchange: Exchange) -> None:
    """Make a session and answer requests. Raises EOFError or OSError when the connection ends."""
    start: Start = exchange.receive()
    sys.path[:] = start.path
    try:
        session = resolve_name(start.factory)(*start.arguments, **start.options)
    except Exception as error:  # for whoever asked
        exchange.send(Reply(None, error=plain_error(error)))
        return
    with contextlib.closing(session):
        told = State.of(session)
        exchange.send(Reply(told))
        while True:
            value, failure = _done(session, exchange.receive())
            state = State.of(session)
            exchange.send(Reply(None if state == told else state, value, failure))
            told = state


def _done(session: Any, request: Request) -> tuple[Any, Exception | None]:
    """Call what is asked for; return what it returns, or an error that it raises."""
    try:
        return getattr(session, request.method)(*request.arguments, **request.options), None
    except Exception as error:  # for whoever asked
        return None, plain_error(error)


def plain_error(error: Exception) -> Exception:
    """Return an error of a kind that the node knows, which does not import what the model does."""
    for kind in (NotFiniteError, ValueError):
        if isinstance(error, kind):
            return kind(str(error))
    name = "" if type(error) is RuntimeError else f"{type(error).__name__}: "
    return RuntimeError(f"{name}{error}")


if __name__ == "__main__":
    sys.exit(main())
