"""A glance at the `.env` tells what the whole store would tell, or nothing."""

import base64
import json
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker_tokens import env_glance
from broker_tokens.clock import IST
from broker_tokens.env_glance import glance
from broker_tokens.env_text import EnvText
from broker_tokens.errors import StoreError
from broker_tokens.model import State
from broker_tokens.store import ACCESS_TOKEN, EXPIRES_AT, format_expiry, read_tokens

ENDS = datetime(2026, 11, 25, 3, 30, tzinfo=IST)
END = format_expiry(ENDS)


def jwt(claims, head=None):
    """Return an unsigned token of these claims: a mapping, or bytes as they are."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    parts = [json.dumps(head or {"alg": "HS256"}).encode(), payload, b"signature"]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


TOKEN = jwt({"sub": "AB1234", "iat": 1, "exp": int(ENDS.timestamp())})


def whole_store(content):
    """Return what the parser and an empty state make of a file."""
    tokens = read_tokens(EnvText(content).values, State())
    if tokens.access_token is None or tokens.expires_at is None:
        return None
    return tokens.access_token.reveal(), tokens.expires_at.timestamp()


def env(*lines, token=TOKEN, end=END):
    return "\n".join([*lines, f"access_token={token}", f"{EXPIRES_AT}={end}", ""]).encode()


def test_the_names_are_those_of_the_store():
    """The glance imports next to nothing, so it names the keys itself."""
    assert env_glance._TOKEN_KEY.decode() == ACCESS_TOKEN
    assert env_glance._EXPIRY_KEY.decode() == EXPIRES_AT


@pytest.mark.parametrize(
    "content",
    [
        env(),
        env("# access_token is written by us, don't touch it", "UPSTOX_CLIENT_ID=a", ""),
        env("A='two words'", 'B="x y"', "C=it's", "D=", "E"),
        env("UPSTOX_REDIRECT_URI=http://localhost:3000/callback?a=b"),
        env("LATIN=\xfc"),
        env().replace(b"\n", b"\r\n"),
        env().removesuffix(b"\n"),
        b"\xef\xbb\xbf" + env(),
        env("access_token=older"),
    ],
)
def test_an_ordinary_file_is_told_at_a_glance(content):
    """Comments, quotes that end in their line, CRLF, a BOM, duplicates."""
    assert glance(content) == (TOKEN, ENDS.timestamp()) == whole_store(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        env(token=""),
        env(token="opaque"),
        env(token="a.b.c"),
        env(end=""),
        env(end="2026-11-24T09:15:00+05:30"),
        env().replace(EXPIRES_AT.encode(), b"# "),
        env("A='never closed"),
        env("A='many", f"access_token={TOKEN}", "lines'"),
        env('A="\\"'),
        env("A= '"),
        env("A=\xa0'"),
        env("'A=1'=2"),
        env("export access_token=1"),
        env(" access_token=1"),
        env("'access_token'=1"),
        env("A=1\raccess_token=1"),
        env("A=1\rB='") + b"C=x'\n",
        env("A=\0"),
        env().decode().encode("utf-16"),
        env(token=jwt({"exp": ENDS.timestamp() + 0.5})),
        env(token=jwt({"exp": str(int(ENDS.timestamp()))})),
        env(token=jwt({"exp": True})),
        env(token=jwt({"sub": "no exp"})),
        env(token=jwt({"a": {"exp": int(ENDS.timestamp())}})),
        env(token=jwt(rb'{"exp":1,"\u0065xp":%d}' % ENDS.timestamp())),
        env(token=jwt(b'{"exp":%d,"exp":1}' % ENDS.timestamp())),
        env(token=jwt(b'["exp":%d]' % ENDS.timestamp())),
        env(token=jwt({"exp": 10**11}), end="5138-11-16T15:16:40+05:30"),
        env(token=jwt({"exp": 10**30})),
        env(token=TOKEN + "x" * 20_000),
        env(token=TOKEN.replace(".", ".=", 1)),
        env(token="ey.x.y"),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_store(content):
    """The glance tells nothing rather than a thing it has not seen."""
    assert glance(content) is None


PIECES = st.sampled_from(
    [
        *("\n", "\n", "\r\n", "\r", "=", "#", "'", '"', "\\", " ", "\t", "\x0c", "\xa0", "\x85"),
        *("A", "b", "export ", "access_token", EXPIRES_AT, f"access_token={TOKEN}\n"),
        *(f"{EXPIRES_AT}={END}\n", f"access_token={TOKEN}", "A='x'\n", 'B="y"\n', "# it's\n"),
        *(f"{EXPIRES_AT}={format_expiry(ENDS + timedelta(days=1))}\n", "access_token=\n"),
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
@example(f"A='\naccess_token={TOKEN}\n{EXPIRES_AT}={END}\n")
@example(f'A=\xa0"\naccess_token={TOKEN}\n{EXPIRES_AT}={END}\n"')
def test_what_is_told_is_what_the_whole_store_tells(text):
    """Whatever the file holds."""
    content = text.encode()
    told = glance(content)

    assert told is None or told == whole_store(content)


@given(st.binary(max_size=40), st.integers(0, 4))
def test_bytes_of_any_kind_are_no_trouble(noise, place):
    """A damaged file is the store's to complain about."""
    lines = env("A=1").split(b"\n")
    lines.insert(place, noise)
    content = b"\n".join(lines)
    told = glance(content)
    try:
        expected = whole_store(content)
    except StoreError:
        expected = None

    assert told is None or told == expected


CLAIMS = st.dictionaries(
    st.sampled_from(["exp", "sub", "iat", "x"]),
    st.one_of(st.integers(-1, 10**12), st.text(max_size=5), st.floats(allow_nan=False), st.none()),
)


@given(CLAIMS, st.booleans())
def test_an_end_is_that_of_the_tokens_claims(claims, is_tight):
    """Of any JWT."""
    separators = (",", ":") if is_tight else (", ", ": ")
    token = jwt(json.dumps(claims, separators=separators).encode())
    exp = claims.get("exp")
    is_time = isinstance(exp, int) and 0 < exp < 32_503_680_000
    end = format_expiry(datetime.fromtimestamp(exp, IST)) if is_time else END
    told = glance(env(token=token, end=end))

    assert told is None or told == (token, exp)
