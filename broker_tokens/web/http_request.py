"""Reads one HTTP/1.1 request (RFC 9112) from a stream, within limits, and refuses what is unclear.

Where a proxy in front could read it differently (two lengths, a length and chunks), it is refused.
"""

import asyncio
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker_tokens.web.http_values import Route, WebReply, WebRequest

LONGEST_HEAD = 8 * 1024

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_BODILESS = ("GET", "HEAD")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~]*)?\r\n")


class RefusedError(Exception):
    """The request is not served; `reply` says so to the client, `reason` to the tally."""

    def __init__(self, reason: str, status: int, words: str, **headers: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = WebReply.text(status, words, **headers)


@dataclass(frozen=True, slots=True)
class _Head:
    method: str
    path: bytes
    query: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)


async def read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, routes: Sequence[Route]
) -> tuple[Route, WebRequest]:
    """Return a whole request and the route it is for; raises RefusedError, EOFError or OSError.

    The limit of time is the caller's.
    """
    head = await _read_head(reader)
    route = _route_of(head, routes)
    largest = 0 if route.method == "GET" else route.largest_body
    length = _length_of(head, largest)
    if head.headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await (_read_chunks(reader, largest) if length is None else reader.readexactly(length))
    path = head.path.decode("ascii")
    return route, WebRequest(head.method, path, head.query, head.headers, body)


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    try:
        text = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise RefusedError("too large", 431, "The head of the request is too large.") from None
    line, *fields = text[:-4].split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _malformed()
    path, _, query = match[2].partition(b"?")
    return _Head(match[1].decode(), path, query.decode("ascii"), _headers_of(fields))


def _headers_of(fields: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for each in fields:
        match = _HEADER.fullmatch(each)
        if match is None:
            raise _malformed()
        name = match[1].decode().lower()
        if name in headers and name in ("content-length", "transfer-encoding", "host"):
            raise _malformed()
        headers[name] = match[2].decode("latin-1")
    return headers


def _route_of(head: _Head, routes: Sequence[Route]) -> Route:
    """Find the route; every path is compared, each in constant time."""
    found = None
    for route in routes:
        if hmac.compare_digest(head.path, route.path.encode()):
            found = route
    if found is None:
        raise RefusedError("wrong address", 404, "Nothing is here.")
    if head.method not in found.methods:
        allowed = ", ".join(found.methods)
        raise RefusedError("wrong method", 405, "Not this method.", Allow=allowed)
    return found


def _length_of(head: _Head, largest: int) -> int | None:
    """Return the body's length, None if it comes in chunks."""
    length, coding = (head.headers.get(name) for name in ("content-length", "transfer-encoding"))
    if coding is not None:
        if length is not None or coding.lower() != "chunked" or head.method in _BODILESS:
            raise _malformed()
        return None
    if length is None:
        if head.method not in _BODILESS:
            raise RefusedError("no length", 411, "A length is needed.")
        return 0
    if not _LENGTH.fullmatch(length):
        raise _malformed()
    if int(length) > largest:
        raise _too_large()
    return int(length)


async def _read_chunks(reader: asyncio.StreamReader, largest: int) -> bytes:
    """Return a body that comes in chunks, as proxies and Java clients send them."""
    body = bytearray()
    while True:
        try:
            match = _CHUNK_SIZE.fullmatch(await reader.readuntil(b"\n"))
        except asyncio.LimitOverrunError:
            raise _malformed() from None
        if match is None:
            raise _malformed()
        size = int(match[1], 16)
        if len(body) + size > largest:
            raise _too_large()
        if size == 0:
            return bytes(body)  # what may follow, trailers, is of no use here
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise _malformed()


def _malformed() -> RefusedError:
    return RefusedError("malformed", 400, "This is no proper request.")


def _too_large() -> RefusedError:
    return RefusedError("too large", 413, "The request is too large.")
