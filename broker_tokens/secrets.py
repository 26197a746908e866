"""A secret is a type: it hides itself wherever text is made of it, and is redacted from logs."""

import hashlib
import hmac
import re
import weakref
from urllib.parse import quote

# Shorter values would turn ordinary words of a log into <secret>.
_SHORTEST_REDACTED = 6

# RFC 6749 appendix A: tokens, codes and secrets are visible ASCII. Anything else in one is a slip
# of copy and paste, and would break an HTTP header.
_VISIBLE_ASCII = re.compile(r"[!-~]+")


class Secret:
    """A value that prints as `<secret>`; only `reveal()` gives it away."""

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        _alive[id(self)] = self

    def reveal(self) -> str:
        """Return the value itself, for the one place that sends or stores it."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """The first 8 hex digits of the SHA-256: tells two secrets apart and betrays neither."""
        return hashlib.sha256(self._value.encode("utf-8", "surrogateescape")).hexdigest()[:8]

    @property
    def is_well_formed(self) -> bool:
        """Whether the value is visible ASCII throughout, as RFC 6749 appendix A demands."""
        return _VISIBLE_ASCII.fullmatch(self._value) is not None

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = (s._value.encode("utf-8", "surrogateescape") for s in (self, other))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled: it would leave the process in the clear")


_alive: "weakref.WeakValueDictionary[int, Secret]" = weakref.WeakValueDictionary()


def redact(text: str, *_held: Secret) -> str:
    """Return `text` with the value of every secret alive in this process replaced by `<secret>`.

    A caller who has just made some hands them over, which keeps them alive until this is done.
    """
    # valuerefs() copies in one step; values() stumbles over a secret that another thread makes.
    values = {secret.reveal() for ref in _alive.valuerefs() if (secret := ref()) is not None}
    # The longest first: of a value that begins with another one, no rest may stay.
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST_REDACTED:
            for form in _forms(value):
                text = text.replace(form, "<secret>")
    return text


def _forms(value: str) -> tuple[str, ...]:
    """Return a value as it stands, as in the query and as in the path of an address."""
    in_query = quote(value, safe="", errors="surrogateescape")
    return value, in_query, quote(value, errors="surrogateescape")
