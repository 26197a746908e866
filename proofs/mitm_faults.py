"""What mitmproxy does to each request: `mitmdump -s` loads this, and finds its orders in a file.

The file, named by FAULT_FILE, is JSON: `kind`, and for "answer" the `status`, `headers` and `body`
of the reply, texts in which each character is a byte.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Any

from mitmproxy import http

# A quarter of a GiB, packed into as many KiB.
_BOMB = gzip.compress(bytes(1 << 28))


def _order() -> dict[str, Any]:
    order: dict[str, Any] = json.loads(Path(os.environ["FAULT_FILE"]).read_text())
    return order


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def request(flow: http.HTTPFlow) -> None:
    """Break off, or answer in the broker's place, before it has heard of it."""
    order = _order()
    if order["kind"] == "drop before":
        flow.kill()  # type: ignore[no-untyped-call]
    elif order["kind"] == "answer":
        headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in order["headers"]
        ]
        flow.response = http.Response(
            http_version=b"HTTP/1.1",
            status_code=order["status"],
            reason=b"Words",
            headers=http.Headers(headers),
            content=_bytes(order["body"]),
            trailers=None,
            timestamp_start=0,
            timestamp_end=0,
        )


def response(flow: http.HTTPFlow) -> None:
    """Do something to the broker's own reply."""
    order = _order()
    reply = flow.response
    assert reply is not None
    body = reply.raw_content or b""
    match order["kind"]:
        case "drop after":
            flow.kill()  # type: ignore[no-untyped-call]
        case "flip":
            at = order["at"] % len(body)
            reply.raw_content = body[:at] + bytes([body[at] ^ 1 << order["bit"]]) + body[at + 1 :]
        case "cut":
            reply.raw_content = body[: order["at"] % len(body)]
        case "too short":
            reply.headers["content-length"] = str(len(body) + 1 + order["at"])
        case "unpacked":  # it says gzip and is not
            reply.headers["content-encoding"] = "gzip"
        case "bomb":
            reply.headers["content-encoding"] = "gzip"
            reply.raw_content = _BOMB
