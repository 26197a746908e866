"""A request and its reply, as the layers hand them to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from broker_tokens.errors import TemporaryFailure


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `may_be_cut` lets a stop signal end it.

    `form` is sent URL-encoded, `json` as application/json; a request has one of them or none.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    json: Mapping[str, Any] | None = field(default=None, repr=False)
    may_be_cut: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply, whatever its status. Header names are in lower case.

    Neither headers nor body are shown: a reply may echo what it was sent.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class NoReply(TemporaryFailure):
    """No reply came: the network, TLS, a proxy or the time was in the way."""


class BrokenOff(TemporaryFailure):
    """The connection broke off within the reply's body; `reply` has what had come of it."""

    def __init__(self, cause: str, advice: str, reply: Reply) -> None:
        super().__init__(cause, advice)
        self.reply = reply


def host_of(url: str) -> str:
    """Return the host and port of an address: all of it that belongs in a message."""
    return urlsplit(url).netloc.rpartition("@")[2]
