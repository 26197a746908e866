"""A secret hides itself."""

import copy
import json
import logging
import pickle
import sys
import threading
import traceback
from urllib.parse import quote, quote_plus, urlencode

import pytest

from broker_tokens.secrets import Secret, redact

PLANTED = "planted/Secret+1=&x"


TEXTS = {
    "repr": repr,
    "str": str,
    "f-string": lambda s: f"{s} {s!r} {s!s} {s!a}",
    "format": lambda s: "{} {!r}".format(s, s),  # noqa: UP032 -- this very form is tested
    "%-format": lambda s: "%s %r" % (s, s),  # noqa: UP031 -- this very form is tested
    "in a container": lambda s: str([s, (s,), {s: s}, {s}]),
    "exception": lambda s: "".join(traceback.format_exception_only(ValueError(s, "x"))),
    "log record": lambda s: logging.makeLogRecord({"msg": "%s", "args": (s,)}).getMessage(),
}


@pytest.mark.parametrize("text_of", TEXTS.values(), ids=TEXTS)
def test_no_text_shows_it(text_of):
    """Every way of making text of a secret gives `<secret>` instead."""
    text = text_of(Secret(PLANTED))

    assert "<secret>" in text
    assert "planted" not in text


@pytest.mark.parametrize(
    "export", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, bytes, vars, "{:>99}".format]
)
def test_no_export_shows_it(export):
    """What would carry the value away is refused, by an error that does not show it either."""
    with pytest.raises(TypeError) as caught:
        export(Secret(PLANTED))

    assert "planted" not in str(caught.value)


def test_it_equals_only_the_same_secret():
    """Secrets compare by value with secrets, never with text."""
    assert Secret(PLANTED) == Secret(PLANTED)
    assert Secret(PLANTED) != Secret("other")
    assert Secret(PLANTED) != PLANTED
    assert len({Secret(PLANTED), Secret(PLANTED)}) == 1


def test_the_fingerprint_betrays_nothing():
    """A fingerprint is 8 hex digits, the same for the same value, and no part of it."""
    assert Secret("abc").fingerprint == "ba7816bf"
    assert Secret("op\udcffque").fingerprint != Secret("op\udcfeque").fingerprint


@pytest.mark.parametrize(
    "form",
    [
        str,
        quote,
        quote_plus,
        lambda v: urlencode({"code": v}),
        lambda v: f"Bearer {v},",
        json.dumps,
    ],
    ids=["plain", "path", "query", "form", "header", "JSON"],
)
def test_redact_finds_every_form(form):
    """A value is taken out of text as it stands and as addresses and forms quote it."""
    secret = Secret(PLANTED)
    text = redact(f"before {form(PLANTED)} after")

    assert "planted" not in text
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert secret.reveal() == PLANTED


def test_redact_takes_the_longest_first():
    """Of a secret that begins with another one, no rest is left."""
    secrets = [Secret("planted"), Secret("planted-and-more"), Secret("planted-and")]

    assert (
        redact("x planted-and-more y planted-and z planted") == "x <secret> y <secret> z <secret>"
    )
    assert len(secrets) == 3


def test_redact_survives_invalid_text():
    """A secret that was no UTF-8 in `.env` neither breaks the log nor shows in it."""
    secret = Secret("planted\udcff\u20b9")

    assert redact(f"a {secret.reveal()} b") == "a <secret> b"


def test_redact_leaves_short_words_alone():
    """A value too short to be a secret does not riddle the log."""
    secret = Secret("at")

    assert redact("what is that") == "what is that"
    assert secret.reveal() == "at"


def test_redact_forgets_what_is_gone():
    """Only secrets alive in the process are sought."""
    secret = Secret("planted-and-gone")
    del secret

    assert redact("planted-and-gone") == "planted-and-gone"


@pytest.fixture
def other_thread():
    """A thread that makes secrets all the time, as the listener's do, and is often given way."""
    interval, is_over = sys.getswitchinterval(), threading.Event()

    def make():
        while not is_over.is_set():
            [Secret("made elsewhere") for _ in range(50)]

    thread = threading.Thread(target=make)
    sys.setswitchinterval(1e-6)
    thread.start()
    yield
    is_over.set()
    thread.join()
    sys.setswitchinterval(interval)


def test_secrets_made_meanwhile_do_not_disturb_a_log_line(other_thread):
    """What is written to the log or the state is redacted, whatever another thread does."""
    kept = [Secret(f"{PLANTED}-{number}") for number in range(1000)]

    assert {redact(f"<{kept[number].reveal()}>") for number in range(20)} == {"<<secret>>"}
