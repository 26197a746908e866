"""A request that has arrived whole, and what is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# The documented webhook has about 700 bytes, most of them the token.
LARGEST_BODY = 16 * 1024

# A page needs no script, no other site and no frame; an address with a code in it goes nowhere.
_HTML_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class WebRequest:
    """One HTTP request. Header names are in lower case; `query` may hold a code."""

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class WebReply:
    """One HTTP reply; `headers` are those beyond the ones that every reply has.

    With `is_head_only` the body is not sent, and its length is told all the same.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    is_head_only: bool = False

    @classmethod
    def text(cls, status: int, words: str, **headers: str) -> "WebReply":
        """Return a line of plain text."""
        return cls(status, f"{words}\n".encode(), headers=headers)

    @classmethod
    def json(cls, status: int, content: bytes) -> "WebReply":
        """Return ready JSON."""
        return cls(status, content, "application/json")

    @classmethod
    def html(cls, status: int, page: str) -> "WebReply":
        """Return a page that can load and run nothing."""
        headers = {"Content-Security-Policy": _HTML_POLICY}
        return cls(status, page.encode(), "text/html; charset=utf-8", headers)


@dataclass(frozen=True, slots=True)
class Route:
    """An address that is served: exactly this path, and one method (GET or POST).

    The path may hold an unguessable part. The handler may take its time; it runs in a thread.
    `takes_head` lets HEAD through where a GET changes nothing; not where it spends a login's code.
    """

    path: str = field(repr=False)
    method: str
    handler: Callable[[WebRequest], WebReply]
    largest_body: int = LARGEST_BODY
    takes_head: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods that are served."""
        return (self.method, "HEAD") if self.takes_head else (self.method,)
