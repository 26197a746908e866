"""Holidays and special sessions: what is asked, and which days depart from the week."""

import json
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile import http
from support.house import ist

from broker_tokens.errors import (
    ConfigurationError,
    TemporaryFailure,
    TokenError,
    TokenRejected,
)
from broker_tokens.http_message import Reply
from broker_tokens.model import Session
from broker_tokens.secrets import Secret

TODAY = date(2026, 11, 20)  # a Friday
SATURDAY, SUNDAY = date(2026, 11, 21), date(2026, 11, 22)
THURSDAY = date(2026, 11, 26)
TOKEN = Secret("tok-en.of_test")
HOLIDAYS = "/v2/market/holidays"


def milliseconds(text):
    return int(ist(text).timestamp() * 1000)


def hours(exchange, day, start, end):
    """Return one entry of `open_exchanges` or of the timings."""
    return {
        "exchange": exchange,
        "start_time": milliseconds(f"{day} {start}"),
        "end_time": milliseconds(f"{day} {end}"),
    }


def session(day, opens, closes):
    return Session(ist(f"{day} {opens}"), ist(f"{day} {closes}"))


def entry(day, kind="TRADING_HOLIDAY", closed=(), open_ones=()):
    return {
        "date": str(day),
        "description": "s",
        "holiday_type": kind,
        "closed_exchanges": list(closed),
        "open_exchanges": list(open_ones),
    }


def refusal(code):
    return {"status": "error", "errors": [{"error_code": code}]}


class Market:
    """A transport that knows a reply for each path; other paths have no timings."""

    def __init__(self, holidays=(), status=200):
        content = holidays if isinstance(holidays, (bytes, dict)) else {"data": list(holidays)}
        self.replies = {HOLIDAYS: (content, status)}
        self.requests = []

    def timings(self, day, body, status=200):
        self.replies[f"/v2/market/timings/{day}"] = (body, status)
        return self

    @property
    def paths(self):
        return [request.url.removeprefix("https://broker.example") for request in self.requests]

    def send(self, request):
        self.requests.append(request)
        body, status = self.replies.get(self.paths[-1], ({"data": []}, 200))
        if isinstance(body, Exception):
            raise body
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Reply(status, {}, content)


@pytest.fixture
def days_of(upstox_at):
    """Return the days that a market has for an exchange."""

    def days_of(market, exchange="NSE", today=TODAY, token=TOKEN, known=()):
        upstox = upstox_at("https://broker.example", market)
        return upstox.market_days(exchange, today, token, dict(known))

    return days_of


def test_broker_calendar_is_asked_for_with_the_token(serve, upstox_at):
    """The holidays, then the timings of the Saturday and Sunday to come, all with the bearer."""
    server = serve(http(200, {"status": "success", "data": []}))

    assert upstox_at(server.url).market_days("NSE", TODAY, TOKEN, {}) == {}

    weekend = [f"/v2/market/timings/{day}" for day in (SATURDAY, SUNDAY)]
    assert [request.path for request in server.requests] == [HOLIDAYS, *weekend]
    for request in server.requests:
        assert (request.method, request.body) == ("GET", b"")
        assert request.headers["authorization"] == "Bearer tok-en.of_test"


def test_broker_calendar_without_a_token_is_the_holidays_alone(serve, upstox_at):
    """Holidays are public, timings are not: without a token one call is made, unsigned."""
    server = serve(http(200, {"data": [entry(THURSDAY, closed=["NSE"])]}))

    assert upstox_at(server.url).market_days("NSE", TODAY, None, {}) == {THURSDAY: None}

    (request,) = server.requests
    assert request.path == HOLIDAYS
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    ("today", "asked"),
    [
        ("2026-11-20", ["2026-11-21", "2026-11-22"]),
        ("2026-11-21", ["2026-11-21", "2026-11-22", "2026-11-28"]),
        ("2026-11-22", ["2026-11-22", "2026-11-28", "2026-11-29"]),
        ("2026-11-23", ["2026-11-28", "2026-11-29"]),
    ],
)
def test_broker_calendar_asks_for_weekends_of_eight_days(days_of, today, asked):
    """Today's own Saturday or Sunday is among them."""
    market = Market()

    days_of(market, today=date.fromisoformat(today))

    assert market.paths[1:] == [f"/v2/market/timings/{day}" for day in asked]


def test_broker_calendar_asks_for_no_weekend_day_that_the_list_tells_of(days_of):
    """A listed holiday or session of a weekend is not asked for again."""
    muhurat = hours("NSE", SUNDAY, "18:00", "19:00")
    market = Market(
        [entry(SATURDAY, closed=["NSE"]), entry(SUNDAY, "SPECIAL_TIMING", [], [muhurat])]
    )

    assert days_of(market) == {SATURDAY: None, SUNDAY: session(SUNDAY, "17:45", "19:00")}
    assert market.paths == [HOLIDAYS]


ALL = ["NSE", "BSE", "NFO", "MCX"]
EVENING = hours("MCX", THURSDAY, "17:00", "23:30")
MUHURAT = hours("NSE", THURSDAY, "18:00", "19:00")
OPEN_AT_MUHURAT = session(THURSDAY, "17:45", "19:00")
NOT_LISTED = "not listed"
ENTRIES = {
    "closed": (entry(THURSDAY, closed=ALL), None),
    "closed, the MCX open in the evening": (
        entry(THURSDAY, closed=["NSE"], open_ones=[EVENING]),
        None,
    ),
    "Muhurat": (entry(THURSDAY, "SPECIAL_TIMING", open_ones=[MUHURAT]), OPEN_AT_MUHURAT),
    "Muhurat on a holiday": (entry(THURSDAY, open_ones=[MUHURAT, EVENING]), OPEN_AT_MUHURAT),
    "Muhurat, yet closed": (entry(THURSDAY, closed=ALL, open_ones=[MUHURAT]), OPEN_AT_MUHURAT),
    "unknown kind, open": (entry(THURSDAY, "NEW", open_ones=[MUHURAT]), OPEN_AT_MUHURAT),
    "unknown kind, closed": (entry(THURSDAY, "NEW", closed=ALL), NOT_LISTED),
    "no kind, closed": (entry(THURSDAY, None, closed=ALL), NOT_LISTED),
    "special, closed": (entry(THURSDAY, "SPECIAL_TIMING", closed=ALL), NOT_LISTED),
    "settlement": (entry(THURSDAY, "SETTLEMENT_HOLIDAY", closed=ALL), NOT_LISTED),
    "settlement, open": (entry(THURSDAY, "SETTLEMENT_HOLIDAY", open_ones=[MUHURAT]), NOT_LISTED),
    "others are closed": (entry(THURSDAY, closed=["CDS", "BCD"]), NOT_LISTED),
    "two sessions": (
        entry(
            THURSDAY,
            open_ones=[
                hours("NSE", THURSDAY, "11:30", "12:30"),
                hours("NSE", THURSDAY, "09:15", "10:00"),
            ],
        ),
        session(THURSDAY, "09:00", "12:30"),
    ),
    "a whole day": (
        entry(THURSDAY, open_ones=[hours("NSE", THURSDAY, "00:15", "23:59")]),
        session(THURSDAY, "00:00", "23:59"),
    ),
}


@pytest.mark.parametrize(("listed", "expected"), ENTRIES.values(), ids=ENTRIES)
def test_broker_calendar_entry_closes_or_opens_the_exchange(days_of, listed, expected):
    """None is a closed day; a session opens 15 minutes before trading starts."""
    days = days_of(Market([listed]))

    assert days == ({} if expected is NOT_LISTED else {THURSDAY: expected})


def test_broker_calendar_evening_session_is_the_commodity_exchanges_alone(days_of):
    """On an NSE holiday the MCX has its evening; the NSE has none of it."""
    market = Market([entry(THURSDAY, closed=["NSE"], open_ones=[EVENING])])

    assert days_of(market, "MCX") == {THURSDAY: session(THURSDAY, "16:45", "23:30")}
    assert days_of(market, "NSE") == {THURSDAY: None}
    assert days_of(market, "BSE") == {}


@pytest.mark.parametrize("is_open_first", [True, False])
def test_broker_calendar_open_hours_outweigh_a_closed_day(days_of, is_open_first):
    """Where two entries contradict each other, one notice too many harms less than none."""
    both = [entry(THURSDAY, open_ones=[MUHURAT]), entry(THURSDAY, closed=["NSE"])]

    assert days_of(Market(both if is_open_first else both[::-1])) == {THURSDAY: OPEN_AT_MUHURAT}


def test_broker_calendar_two_sessions_of_a_day_are_covered_as_one(days_of):
    """From the first opening to the last close a token is needed, in whichever order they come."""
    both = [
        entry(THURSDAY, open_ones=[MUHURAT]),
        entry(THURSDAY, "SPECIAL_TIMING", open_ones=[hours("NSE", THURSDAY, "09:15", "10:00")]),
    ]

    for entries in (both, both[::-1]):
        assert days_of(Market(entries)) == {THURSDAY: session(THURSDAY, "09:00", "19:00")}


START, END = milliseconds("2026-11-26 18:00"), milliseconds("2026-11-26 19:00")


@pytest.mark.parametrize(
    ("start", "end"),
    [(START, END), (str(START), str(END)), (float(START), float(END)), (START, str(END))],
)
def test_broker_calendar_times_are_numbers_or_texts(days_of, start, end):
    """Epoch milliseconds in either form are the same session."""
    open_one = {"exchange": "NSE", "start_time": start, "end_time": end, "new": {}}

    assert days_of(Market([entry(THURSDAY, open_ones=[open_one])])) == {THURSDAY: OPEN_AT_MUHURAT}


ABSURD = {
    "no start": (None, END),
    "no end": (START, None),
    "backwards": (END, START),
    "of no length": (START, START),
    "the day before": (START - 86_400_000, END - 86_400_000),
    "beyond midnight": (START, milliseconds("2026-11-27 00:30")),
    "opens the day before": (milliseconds("2026-11-26 00:10"), END),
    "seconds": (START // 1000, END // 1000),
    "endless": (START, 10**400),
    "beyond the calendar": (START, 1e300),
    "not a number": (float("nan"), END),
    "infinite": (START, float("inf")),
    "true": (True, END),
    "negative": (-START, END),
    "words": ("18:00", "19:00"),
    "long text": ("1" * 5000, END),
    "foreign digits": (str(START).translate({0x30 + n: 0x660 + n for n in range(10)}), END),
    "raised digits": ("\u00b2" * 13, END),
    "a list": ([START], {"at": END}),
}


@pytest.mark.parametrize(("start", "end"), ABSURD.values(), ids=ABSURD)
def test_broker_calendar_absurd_hours_leave_the_day_as_the_week_has_it(days_of, start, end):
    """Such an entry is none, also where it calls the exchange closed."""
    open_one = {"exchange": "NSE", "start_time": start, "end_time": end}

    assert days_of(Market([entry(THURSDAY, closed=["NSE"], open_ones=[open_one])])) == {}


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-11-26", THURSDAY),
        ("2026-11-26T00:00:00", THURSDAY),
        ("2026-11-26 00:00:00", THURSDAY),
        ("2026-11-26T00:00:00+05:30", THURSDAY),
        ("2026-11-26T00:00:00.000Z", THURSDAY),
        ("2026-11-25T18:30:00Z", THURSDAY),
        *((odd, None) for odd in ("", "26-11-2026", "2026-11-31", "2026-11-26x", "soon", "\ud800")),
        *((odd, None) for odd in (None, 20261126, True, [], {}, "0001-01-01T00:00+23:59")),
    ],
)
def test_broker_calendar_date_is_read_with_or_without_a_time(days_of, text, day):
    """A date with a zone is the date in India; what is no date is passed over."""
    listed = entry(THURSDAY, closed=["NSE"]) | {"date": text}

    assert days_of(Market([listed])) == ({day: None} if day else {})


def test_broker_calendar_looks_from_today_to_four_hundred_days_ahead(days_of):
    """Both ends count; what is over or farther away does not."""
    ends = [TODAY - timedelta(1), TODAY, TODAY + timedelta(400), TODAY + timedelta(401)]

    days = days_of(Market([entry(day, closed=["NSE"]) for day in ends]))

    assert list(days) == ends[1:3]


def test_broker_calendar_keeps_the_hundred_nearest_days(days_of):
    """A list without an end does not fill the state file, weekends asked for included."""
    everyday = [
        entry(TODAY + timedelta(ahead), closed=["NSE"])
        for ahead in range(400, -1, -1)
        if ahead not in (1, 2)
    ]
    market = Market(everyday * 3)
    for day in (SATURDAY, SUNDAY):
        market.timings(day, {"data": [hours("NSE", day, "09:15", "12:30")]})

    days = days_of(market)

    assert list(days) == [TODAY + timedelta(ahead) for ahead in range(100)]
    assert days[SATURDAY] == session(SATURDAY, "09:00", "12:30")


def test_broker_calendar_special_saturday_is_covered(days_of):
    """A weekend day with timings of the exchange has a session; without, it stays a weekend."""
    market = Market().timings(
        SATURDAY,
        {
            "data": [
                hours("MCX", SATURDAY, "09:00", "23:30"),
                hours("NSE", SATURDAY, "11:30", "12:30"),
                hours("NSE", SATURDAY, "09:15", "10:00"),
            ]
        },
    )
    market.timings(SUNDAY, {"data": [hours("BSE", SUNDAY, "09:15", "10:00")]})

    assert days_of(market) == {SATURDAY: session(SATURDAY, "09:00", "12:30")}


KNOWN = {SATURDAY: session(SATURDAY, "09:00", "12:30"), THURSDAY: None}


@pytest.mark.parametrize(
    ("token", "timings", "expected"),
    [
        (None, None, KNOWN[SATURDAY]),  # nobody can be asked
        (TOKEN, ({"message": "slow down"}, 429), KNOWN[SATURDAY]),
        (TOKEN, (b"<html>", 200), KNOWN[SATURDAY]),
        (TOKEN, ({"data": []}, 200), None),  # called off
        (TOKEN, ({"data": [hours("NSE", SATURDAY, "10:15", "11:30")]}, 200), "moved"),
    ],
)
def test_broker_calendar_known_saturday_stays_until_it_is_called_off(
    days_of, token, timings, expected
):
    """Learned with yesterday's token, it is not forgotten when today has none yet."""
    market = Market([entry(THURSDAY, closed=["NSE"])])
    if timings is not None:
        market.timings(SATURDAY, *timings)
    moved = session(SATURDAY, "10:00", "11:30")

    days = days_of(market, token=token, known=KNOWN)

    assert days.pop(THURSDAY) is None
    assert days == (
        {}
        if expected is None
        else {SATURDAY: moved if timings and expected == "moved" else expected}
    )


def test_broker_calendar_empty_list_forgets_no_holiday(days_of):
    """No year is without holidays, so an empty list says nothing; what is over is not kept."""
    known = KNOWN | {TODAY - timedelta(1): None}

    assert days_of(Market(), token=None, known=known) == KNOWN


def test_broker_calendar_timings_of_another_day_are_no_session(days_of):
    """Hours that do not lie on the day asked for are not taken for it."""
    market = Market().timings(SATURDAY, {"data": [hours("NSE", TODAY, "09:15", "15:30")]})

    assert days_of(market) == {}


FAILURES = {
    "dead token": (refusal("UDAPI100050"), 401),
    "rate limit": ({}, 429),
    "trouble": ({}, 500),
    "html": (b"<html>", 200),
    "defect": (refusal("UDAPI100060"), 404),
    "app": (refusal("UDAPI1157"), 400),
    "gate": (refusal("UDAPI1221"), 401),
    "no data": ({}, 200),
    "a text": ({"data": "NSE"}, 200),
    "odd entries": ({"data": [None, "NSE", 5, [], {"exchange": ["NSE"]}]}, 200),
    "no network": (TemporaryFailure("No network.", "Wait."), 0),
}


@pytest.mark.parametrize(("body", "status"), FAILURES.values(), ids=FAILURES)
def test_broker_calendar_failing_timings_lose_neither_holidays_nor_the_next_day(
    days_of, body, status
):
    """A weekend day that cannot be asked for is passed over, whatever the reason."""
    market = Market([entry(THURSDAY, closed=["NSE"])]).timings(SATURDAY, body, status)
    market.timings(SUNDAY, {"data": [hours("NSE", SUNDAY, "09:15", "10:00")]})

    assert days_of(market) == {SUNDAY: session(SUNDAY, "09:00", "10:00"), THURSDAY: None}


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (refusal("UDAPI100050"), 401, TokenRejected),
        (refusal("UDAPI1157"), 400, ConfigurationError),
        ({}, 429, TemporaryFailure),
        ({}, 500, TemporaryFailure),
        (b"<html>", 200, TemporaryFailure),
        ({}, 200, TemporaryFailure),
        ({"data": None}, 200, TemporaryFailure),
        ({"data": {"date": "2026-11-26"}}, 200, TemporaryFailure),
    ],
)
def test_broker_calendar_failing_holidays_are_an_error(days_of, body, status, kind):
    """Without the list nothing is learned, and no more is asked: what is known of old is kept."""
    market = Market(body, status)

    with pytest.raises(kind):
        days_of(market)
    assert market.paths == [HOLIDAYS]


names = st.sampled_from(
    [
        *("date", "holiday_type", "closed_exchanges", "open_exchanges", "exchange"),
        *("start_time", "end_time", "data", "errors"),
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**308, 10**320)
    | st.integers(START - 10**8, END + 10**8)
    | st.floats()
    | st.text(max_size=10)
    | st.dates(TODAY - timedelta(3), TODAY + timedelta(9)).map(str)
    | st.sampled_from(["NSE", "TRADING_HOLIDAY", "SPECIAL_TIMING", "2026-11-26T24:00", str(END)])
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6)
)
entries = st.lists(st.dictionaries(names, values, max_size=9) | values, max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=40) | st.dictionaries(names, values) | entries, entries, st.booleans())
def test_broker_calendar_of_any_body_is_days_or_an_error_of_ours(days_of, body, timings, has_token):
    """Whatever comes back, each day is in reach and each session on its day, or it is an error."""
    market = Market(body).timings(SATURDAY, {"data": timings})

    try:
        days = days_of(market, token=TOKEN if has_token else None)
    except TokenError:
        return

    for day, found in days.items():
        assert TODAY <= day <= TODAY + timedelta(400)
        assert found is None or found.opens.date() == day == found.closes.date()
        assert found is None or found.opens < found.closes
