"""A small HTTP server for hostile surroundings: one bounded request a connection, and no more.

The standard library's own servers limit neither the time of a whole request nor the number of
threads. What this one serves are a few addresses; everything else is refused before a handler
sees it. Nothing of a request is ever logged.
"""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Self

from broker_tokens.web.http_request import LONGEST_HEAD, RefusedError, read_request
from broker_tokens.web.http_values import Route, WebReply, WebRequest
from broker_tokens.web.sockets import bind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stranger may take; a webhook or a redirect needs a fraction of it."""

    deadline: timedelta = timedelta(seconds=5)  # for a whole request to arrive
    connections: int = 200  # one more, and the oldest that still sends is dropped
    handlers: int = 4  # at work at once; each may wait for the broker
    waiting: int = 32  # for a handler; one more is told to come again


class WebServer:
    """Serves routes at an address, in a thread of its own; a context manager."""

    def __init__(
        self,
        host: str,
        port: int,
        routes: Callable[[], Sequence[Route]],
        on_refused: Callable[[str], None],
        limits: Limits | None = None,
        *,
        key: str = "",
    ) -> None:
        """Bind the address; raises TemporaryFailure, which names the setting `key` if given.

        `routes` is asked at each request, in the server's thread, and must not take long.
        `on_refused` is told the reason of a refusal in a word.
        """
        self._routes = routes
        self._on_refused = on_refused
        self._limits = limits or Limits()
        self._sockets = bind(host, port, key)
        self._reading: OrderedDict[asyncio.Task[Any], None] = OrderedDict()
        self._answering: set[asyncio.Task[Any]] = set()
        self._grace = timedelta(0)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._handlers = ThreadPoolExecutor(self._limits.handlers, "web")
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, the real one where 0 was asked for."""
        host, port = self._sockets[0].getsockname()[:2]
        return str(host), int(port)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self, grace: timedelta = timedelta(0)) -> None:
        """Stop at once; what a handler has begun may take `grace` to be finished."""
        self._grace = grace
        if self._thread.is_alive():
            with suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        for each in self._sockets:
            each.close()
        self._handlers.shutdown(wait=False, cancel_futures=True)
        if not self._loop.is_running():
            self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(self._count_error)
        self._loop.run_until_complete(self._serve())

    def _count_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG002 -- asyncio's signature
        """Count an error of the loop itself, of which a flood must not fill the log."""
        # Whom we drop ourselves, Python 3.11 reports as such an error.
        if not isinstance(context.get("exception"), asyncio.CancelledError):
            self._on_refused("dropped")

    async def _serve(self) -> None:
        servers = [
            await asyncio.start_server(self._take, sock=each, limit=LONGEST_HEAD)
            for each in self._sockets
        ]
        await self._stop.wait()
        for server in servers:
            server.close()
        for task in self._reading:
            task.cancel()
        if self._answering:
            await asyncio.wait(self._answering, timeout=self._grace.total_seconds())
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection from its first byte to its last."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a coroutine of a server runs in a task
        self._make_room(task)
        try:
            await self._send(await self._answer(reader, writer, task), writer)
            self._answering.discard(task)
            await self._linger(reader)
        except (OSError, EOFError, TimeoutError):
            pass  # whoever was there has gone
        finally:
            self._reading.pop(task, None)
            self._answering.discard(task)
            writer.transport.abort()  # all is sent, or nobody is there to read it

    def _make_room(self, task: asyncio.Task[Any]) -> None:
        """Drop the oldest that still sends, so that a flood of slow ones locks nobody out."""
        self._reading[task] = None
        if len(self._reading) > self._limits.connections:
            oldest, _ = self._reading.popitem(last=False)
            oldest.cancel()
            self._on_refused("dropped")

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[Any]
    ) -> WebReply:
        try:
            async with asyncio.timeout(self._limits.deadline.total_seconds()):
                route, request = await read_request(reader, writer, self._routes())
        except TimeoutError:
            self._on_refused("too slow")
            return WebReply.text(408, "The request took too long.")
        except RefusedError as refused:
            self._on_refused(refused.reason)
            return refused.reply
        finally:
            self._reading.pop(task, None)
        if len(self._answering) >= self._limits.handlers + self._limits.waiting:
            self._on_refused("too many at once")
            return WebReply.text(503, "Too much at once.", **{"Retry-After": "5"})
        self._answering.add(task)
        return await self._loop.run_in_executor(self._handlers, _handled, route, request)

    async def _send(self, reply: WebReply, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(self._limits.deadline.total_seconds()):
            writer.write(_head_of(reply) + (b"" if reply.is_head_only else reply.body))
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

    async def _linger(self, reader: asyncio.StreamReader) -> None:
        """Read and drop what is still on its way: closing before would reset the connection.

        The client might then never see the reply.
        """
        async with asyncio.timeout(self._limits.deadline.total_seconds()):
            await reader.read(LONGEST_HEAD)


def _handled(route: Route, request: WebRequest) -> WebReply:
    try:
        reply = route.handler(request)
        return replace(reply, is_head_only=True) if request.method == "HEAD" else reply
    except Exception:
        log.exception("A defect while answering a request.")
        return WebReply.text(500, "A defect of the service.")


def _head_of(reply: WebReply) -> bytes:
    headers = {
        "Content-Type": reply.content_type,
        "Content-Length": str(len(reply.body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        **reply.headers,
    }
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
