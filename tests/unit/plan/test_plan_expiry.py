"""When a token dies, against integer arithmetic and against tokens that lie."""

import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from support.house import ist

from broker_tokens.expiry import expiry_claim, expiry_of, is_read_only, next_cut, subject_claim
from broker_tokens.secrets import Secret

DAY = 86_400
CUT_OF_DAY = 22 * 3600  # 03:30 IST is 22:00 UTC of the day before

# Run under another host zone. The oracle knows neither zones nor calendars: seconds alone.
IN_ANOTHER_ZONE = """
from datetime import UTC, datetime
from broker_tokens.expiry import expiry_of, next_cut
from broker_tokens.secrets import Secret

def oracle(second):
    cut = second // 86400 * 86400 + 22 * 3600
    return cut if cut > second else cut + 86400

checked = 0
# Ordinary days, and those on which New York (2026-03-08, 2026-11-01) changes its clocks.
for day in ("2026-11-20", "2026-03-08", "2026-11-01", "2026-12-31", "2028-02-29"):
    start = int(datetime.fromisoformat(day + "T00:00:00+05:30").timestamp())
    cut = start + 12600
    for second in [*range(start, start + 86400, 60), *range(cut - 90, cut + 91)]:
        instant = datetime.fromtimestamp(second, UTC)
        for issued_at in (instant, instant.astimezone()):
            assert next_cut(issued_at).timestamp() == oracle(second), (day, second)
            assert expiry_of(Secret("opaque"), issued_at).timestamp() == oracle(second)
        checked += 1
print(checked)
"""


def jwt(payload: object) -> Secret:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Secret(f"h.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}.s")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"])
def test_every_minute_of_a_day_dies_at_the_next_0330_ist_whatever_the_hosts_zone(zone):
    """All 1,440 minutes of five days, and each second around the cut, agree with the oracle."""
    ran = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_ZONE],
        env={"TZ": zone, "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ran.stderr == ""
    assert int(ran.stdout) == 5 * (1440 + 181)


@budget(max_examples=500, deadline=None, derandomize=True, database=None)
@given(second=st.integers(0, 4_102_444_800), offset=st.integers(-14 * 60, 14 * 60))
def test_any_instant_in_any_zone_agrees_with_the_oracle(second, offset):
    """The zone an instant is written in does not matter."""
    issued_at = datetime.fromtimestamp(second, timezone(timedelta(minutes=offset)))
    cut = second // DAY * DAY + CUT_OF_DAY

    assert next_cut(issued_at).timestamp() == (cut if cut > second else cut + DAY)


@pytest.mark.parametrize(
    ("made", "dies", "epoch"),
    [
        ("2026-11-20 02:30", "2026-11-20 03:30", 1795125600),
        ("2026-11-20 03:30", "2026-11-21 03:30", 1795212000),
        ("2026-11-20 09:00", "2026-11-21 03:30", 1795212000),
        ("2026-09-12 13:57:47", "2026-09-13 03:30", 1789250400),
    ],
)
def test_the_rows_of_the_brokers_table_hold(made, dies, epoch):
    """The documented tokens, made and dead at these IST times."""
    expires_at = expiry_of(Secret("opaque"), ist(made))

    assert expires_at == ist(dies)
    assert expires_at.timestamp() == epoch


def test_one_microsecond_before_the_cut_belongs_to_the_old_day():
    """The cut is a sharp edge."""
    assert next_cut(ist("2026-11-20 03:29:59.999999")) == ist("2026-11-20 03:30")


@pytest.mark.parametrize("exp", [1795127400, 1795127400.0, 1795127400.25])
def test_the_tokens_own_exp_outranks_the_0330_rule(exp):
    """A JWT that says 04:00 is believed, as a whole number or not."""
    expires_at = expiry_of(jwt({"exp": exp}), ist("2026-11-20 02:30"))

    assert expires_at == datetime.fromtimestamp(exp, UTC)
    assert expires_at.tzinfo is not None


NO_HINT = {
    "exp is missing": jwt({"sub": "4HCYNF"}),
    "exp is null": jwt({"exp": None}),
    "exp is in milliseconds": jwt({"exp": 1795212000000}),
    "exp is negative": jwt({"exp": -1795212000}),
    "exp is zero": jwt({"exp": 0}),
    "exp is a string": jwt({"exp": "1795212000"}),
    "exp is true": jwt({"exp": True}),
    "exp is a list": jwt({"exp": [1795212000]}),
    "exp is NaN": jwt(b'{"exp": NaN}'),
    "exp is Infinity": jwt(b'{"exp": Infinity}'),
    "exp is minus Infinity": jwt(b'{"exp": -Infinity}'),
    "exp overflows a float": jwt(b'{"exp": 1e999}'),
    "exp has 4,000 digits": jwt(b'{"exp": ' + b"9" * 4000 + b"}"),
    "exp has more digits than Python reads": jwt(b'{"exp": ' + b"9" * 5000 + b"}"),
    "exp is beyond the year 9999": jwt({"exp": 10**14}),
    "one part": Secret("abc"),
    "two parts": Secret("a.b"),
    "four parts": Secret("a.eyJleHAiOjE3OTUyMTIwMDB9.c.d"),
    "five parts, an encrypted JWT": Secret("a.eyJleHAiOjE3OTUyMTIwMDB9.c.d.e"),
    "empty parts": Secret(".."),
    "nothing at all": Secret(""),
    "base64 of impossible length": Secret("h.eyJle.s"),
    "not base64": Secret("h.%%%%.s"),
    "not ASCII": Secret("h.\u0930\u0941.s"),
    "a lone surrogate": Secret("h.\udcff.s"),
    "not JSON": jwt(b"exp=1795212000"),
    "not UTF-8": jwt(b"\xff\xfe{"),
    "JSON cut short": jwt(b'{"exp": 17952120'),
    "payload is a list": jwt([1795212000]),
    "payload is a number": jwt(1795212000),
    "payload is a string": jwt("exp"),
    "payload is null": jwt(None),
    "nested 5,000 deep": jwt(b"[" * 5000 + b"]" * 5000),
    "nested 2,000 deep in exp": jwt(b'{"exp":' * 1500 + b"1" + b"}" * 1500),
    "longer than any JWT": jwt({"exp": 1795212000, "pad": "x" * 20_000}),
}


@pytest.mark.parametrize(
    ("claims", "is_one"),
    [
        ({"iat": 1795123800, "exp": 1795125600}, False),  # made at 03:00, dead at 03:30
        ({"iat": 1795125600, "exp": 1795212000}, False),  # made at 03:30 sharp
        ({"iat": 1795123800, "exp": 1826659800}, True),  # a year
        ({"iat": 1795123800, "exp": 1795212000}, True),  # beyond the next cut
        ({"exp": 1826659800}, False),  # nobody knows from when on
        ({"isExtended": True}, True),
        ({"isExtended": "true"}, False),
        ({"isExtended": False, "iat": 1795123800, "exp": 1795125600}, False),
    ],
)
def test_a_read_only_token_is_known_by_its_claim_or_its_long_life(claims, is_one):
    """No normal token lives beyond the 03:30 that follows its making."""
    assert is_read_only(jwt(claims)) is is_one


@pytest.mark.parametrize("token", NO_HINT.values(), ids=NO_HINT)
def test_a_token_that_does_not_tell_is_given_the_0330_rule(token):
    """Nonsense in a token is no hint, and never an exception."""
    assert expiry_claim(token) is None
    assert subject_claim(token) in (None, "4HCYNF")
    assert not is_read_only(token)
    assert expiry_of(token, ist("2026-11-20 09:00")) == ist("2026-11-21 03:30")


@budget(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.one_of(st.text(), st.binary().map(lambda b: jwt(b).reveal())))
def test_no_text_whatever_makes_the_claims_raise(text):
    """Any text is a token to be judged, not an error."""
    token = Secret(text)

    assert expiry_of(token, ist("2026-11-20 09:00")).tzinfo is not None
    assert subject_claim(token) is None or subject_claim(token)
    assert is_read_only(token) in (True, False)


@budget(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers())
def test_no_number_whatever_in_exp_raises(exp):
    """Any number in `exp` gives an instant or no hint."""
    claim = expiry_claim(jwt(json.dumps({"exp": exp}).encode()))

    assert claim is None or claim.year <= 3000


@pytest.mark.parametrize("claims", [{}, {"exp": 1795170600}])  # none, 2026-11-20 16:00 IST
@budget(max_examples=200, deadline=None, derandomize=True, database=None)
@given(seconds=st.floats(0.001, 1e9))
def test_expires_in_shortens_a_life_and_never_lengthens_it(claims, seconds):
    """RFC 6749's `expires_in` is at most a reason to renew sooner."""
    issued_at = ist("2026-11-20 09:00")
    length = timedelta(seconds=seconds)
    without = expiry_of(jwt(claims), issued_at)

    assert expiry_of(jwt(claims), issued_at, length) == min(without, issued_at + length)


def test_an_endless_expires_in_is_no_error():
    """The largest length of time there is changes nothing."""
    issued_at = ist("2026-11-20 09:00")

    assert expiry_of(Secret("opaque"), issued_at, timedelta.max) == ist("2026-11-21 03:30")


def test_a_token_of_one_second_keeps_its_true_expiry():
    """No safety margin is invented."""
    issued_at = ist("2026-11-20 09:00")

    assert expiry_of(Secret("opaque"), issued_at, timedelta(seconds=1)) == ist(
        "2026-11-20 09:00:01"
    )


@pytest.mark.parametrize("subject", ["", 7, None, ["4HCYNF"], {"id": "4HCYNF"}, True])
def test_a_subject_that_is_no_text_is_none(subject):
    """Only a non-empty text names an account."""
    assert subject_claim(jwt({"sub": subject})) is None


def test_whole_seconds_of_expires_in_do_not_move_the_daily_cut():
    """The reply was made a moment ago and its seconds are whole; 03:30 stays 03:30."""
    issued_at = ist("2026-11-20 09:00") + timedelta(milliseconds=700)
    seconds = int((ist("2026-11-21 03:30") - issued_at).total_seconds())

    assert expiry_of(Secret("opaque"), issued_at, timedelta(seconds=seconds)) == ist(
        "2026-11-21 03:30"
    )
