"""The token of an ordinary `.env`, told at a glance: no parser, no state, next to no imports.

Most files need no more: plain lines, a JWT in `access_token` whose `exp` is what
`UPSTOX_TOKEN_EXPIRES_AT` says. Where anything is out of the ordinary the glance tells nothing, and
the whole store is read; where it tells something, it is what the whole store would have told.
"""

from datetime import datetime, timedelta, timezone

# The names that `store` gives them; a test holds both to the same.
_TOKEN_KEY = b"access_token"
_EXPIRY_KEY = b"UPSTOX_TOKEN_EXPIRES_AT"

_IST = timezone(timedelta(hours=5, minutes=30))

# Of a JWT of Upstox there are about 400 characters.
_LONGEST_JWT = 16_384
_LATEST_EPOCH = 32_503_680_000


def glance(content: bytes) -> tuple[str, float] | None:
    """Return the token of a `.env` and the epoch second at which it dies, or None if in doubt."""
    lines = _plain_lines(content)
    if lines is None:
        return None
    token = lines.get(_TOKEN_KEY, b"")
    dies_at = _end_of_jwt(token)
    if dies_at is None:
        return None
    # The expiry beside the token is the token's own: nobody put another one there since, and the
    # broker has not refused it, upon which the time of its death is written there.
    end = datetime.fromtimestamp(dies_at, _IST).isoformat(timespec="seconds")
    if lines.get(_EXPIRY_KEY) != end.encode():
        return None
    return token.decode(), float(dies_at)


def _plain_lines(content: bytes) -> dict[bytes, bytes] | None:
    """Return our keys' values, or None if a parser might see the lines otherwise than we do."""
    values: dict[bytes, bytes] = {}
    if b"\0" in content:
        return None
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        line = line.removesuffix(b"\r")  # noqa: PLW2901 -- the line end of Windows
        if b"\r" in line:
            return None
        if line.startswith(b"#"):
            continue
        key, _, value = line.partition(b"=")
        if key in (_TOKEN_KEY, _EXPIRY_KEY):
            values[key] = value  # of duplicates the last counts, as for all readers
        elif _TOKEN_KEY in line or _EXPIRY_KEY in line or not _ends_in_its_line(key, value):
            return None
    return values


def _ends_in_its_line(key: bytes, value: bytes) -> bool:
    """Whether no quotation mark can reach beyond this line."""
    if b'"' not in value and b"'" not in value:
        return b'"' not in key and b"'" not in key
    if b'"' in key or b"'" in key:
        return False
    mark, inner, end = value[:1], value[1:-1], value[-1:]
    is_quoted = mark in (b'"', b"'") and mark == end and mark not in inner and b"\\" not in inner
    # An unquoted value takes its line as it is; what else may begin one is the parser's business.
    return (is_quoted and len(value) > 1) or value[:1].isalnum()


def _end_of_jwt(token: bytes) -> int | None:
    """Return the `exp` of a JWT (RFC 7519) of plain claims, None for anything else."""
    parts = token.split(b".")
    if len(parts) != 3 or len(token) > _LONGEST_JWT:
        return None
    if not b"".join(parts).translate(None, b"-_").isalnum():
        return None
    import binascii  # here, as it is a shared library to be loaded

    payload = parts[1].replace(b"-", b"+").replace(b"_", b"/")
    try:
        claims = binascii.a2b_base64(payload + b"=" * (-len(payload) % 4))
    except binascii.Error:
        return None
    return _plain_exp(claims)


def _plain_exp(claims: bytes) -> int | None:
    """Return the one `"exp":` of a flat JSON object in whole seconds, None if it is not so plain.

    A backslash could hide the name, a brace another object with one of its own.
    """
    text = claims.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")) or b"\\" in text:
        return None
    if text.count(b"{") != 1 or text.count(b'"exp"') != 1:
        return None
    digits = text.partition(b'"exp":')[2].replace(b"}", b",").partition(b",")[0].strip()
    if not digits.isdigit() or digits.startswith(b"0"):
        return None
    exp = int(digits)
    return exp if exp < _LATEST_EPOCH else None
