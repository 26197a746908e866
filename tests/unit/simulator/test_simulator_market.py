"""The market's calendar, with and without Upstox's own client."""

import inspect
from datetime import date, datetime, time

import pytest
from unit.simulator.practice import error_of

from broker_tokens.clock import IST
from broker_tokens.simulator.broker import Request, SimulatedUpstox
from broker_tokens.simulator.market import Holiday, OpenHours
from broker_tokens.simulator.server import SimulatorServer

DIWALI, MONDAY, SATURDAY = date(2026, 11, 8), date(2026, 11, 23), date(2026, 11, 21)
GURU_NANAK = date(2026, 11, 24)
MUHURAT = OpenHours("NSE", time(18), time(19))
SPECIAL = [
    Holiday(DIWALI, "Diwali", "SPECIAL_TIMING", (), (MUHURAT,)),
    Holiday(GURU_NANAK, "Guru Nanak Jayanti"),
    Holiday(SATURDAY, "Drill", "SPECIAL_TIMING", (), (OpenHours("NSE", time(9, 15), time(10)),)),
]


@pytest.fixture
def broker(clock):
    """A broker with three special days."""
    return SimulatedUpstox(clock, holidays=SPECIAL)


def ask(broker, path, token=""):
    """Return the reply of a calendar's address."""
    return broker.handle(Request("GET", path, {}, {"Authorization": f"Bearer {token}"}))


def hours_of(reply):
    """Return exchange, start and end, in IST."""
    return [
        (each["exchange"], *(clock_of(each[key]) for key in ("start_time", "end_time")))
        for each in reply.json()["data"]
    ]


def clock_of(milliseconds):
    return f"{datetime.fromtimestamp(milliseconds / 1000, IST):%a %H:%M}"


def test_holidays_are_public_and_one_can_be_asked_for(broker):
    """The whole list, or the entry of a date; none for a usual day."""
    whole = ask(broker, "/v2/market/holidays").json()["data"]
    one = ask(broker, f"/v2/market/holidays/{GURU_NANAK}").json()["data"]

    assert [entry["date"] for entry in whole] == ["2026-11-08", "2026-11-24", "2026-11-21"]
    assert one == [whole[1]]
    assert set(one[0]) == {
        *("date", "description", "holiday_type", "closed_exchanges", "open_exchanges")
    }
    assert ask(broker, f"/v2/market/holidays/{MONDAY}").json()["data"] == []


def test_holidays_may_need_a_token(clock):
    """Whether they do is undocumented."""
    broker = SimulatedUpstox(clock, holidays=SPECIAL, holidays_need_token=True)

    assert error_of(ask(broker, "/v2/market/holidays")) == (401, "UDAPI100050")
    assert ask(broker, "/v2/market/holidays", broker.mint()).status == 200


@pytest.mark.parametrize(
    ("day", "nse"),
    [
        (MONDAY, [("NSE", "Mon 09:15", "Mon 15:30")]),
        (GURU_NANAK, []),
        (SATURDAY, [("NSE", "Sat 09:15", "Sat 10:00")]),
        (DIWALI, [("NSE", "Sun 18:00", "Sun 19:00")]),
        (date(2026, 11, 22), []),
    ],
)
def test_timings_of_a_day_need_a_token(broker, day, nse):
    """Open hours of each exchange, none where it is closed."""
    path = f"/v2/market/timings/{day}"
    hours = hours_of(ask(broker, path, broker.mint()))

    assert [each for each in hours if each[0] == "NSE"] == nse
    assert error_of(ask(broker, path)) == (401, "UDAPI100050")


@pytest.mark.parametrize("path", ["/v2/market/holidays/soon", "/v2/market/timings/2026-13-01"])
def test_no_date_is_refused(broker, path):
    """With a code."""
    assert error_of(ask(broker, path, broker.mint())) == (400, "UDAPI100036")


@pytest.fixture
def sdk(broker):
    """Upstox's own client, before the simulator."""
    upstox_client = pytest.importorskip("upstox_client")
    configuration = upstox_client.Configuration()
    with SimulatorServer(broker) as server:
        configuration.host = server.url
        configuration.access_token = broker.mint()
        client = upstox_client.ApiClient(configuration)
        yield upstox_client, client
        client.rest_client.pool_manager.clear()
        client.pool.close()
        client.pool.join()


def test_the_official_client_reads_the_calendar(sdk):
    """Its models take what the simulator sends."""
    upstox_client, client = sdk
    api = upstox_client.MarketHolidaysAndTimingsApi(client)
    holidays = api.get_holidays()
    one = api.get_holiday(GURU_NANAK.isoformat())
    # It sends no token with this call, which by Upstox's documents needs one.
    client.set_default_header("Authorization", f"Bearer {client.configuration.access_token}")
    timings = api.get_exchange_timings(SATURDAY.isoformat())

    assert [entry.description for entry in holidays.data] == [each.description for each in SPECIAL]
    assert holidays.data[0].open_exchanges[0].exchange == "NSE"
    assert one.data[0].holiday_type == "TRADING_HOLIDAY"
    assert clock_of(timings.data[-1].start_time) == "Sat 09:15"


def test_the_official_client_asks_for_an_approval(sdk, broker):
    """Its request is taken, its reply read, and a refusal has a code that it can read."""
    upstox_client, client = sdk
    api = upstox_client.LoginApi(client)
    known = inspect.signature(upstox_client.IndieUserTokenRequest.__init__).parameters
    assert "client_secret" in known
    body = upstox_client.IndieUserTokenRequest(client_secret="sim-secret")
    with pytest.raises(upstox_client.rest.ApiException) as caught:
        api.init_token_request_for_indie_user(body, "sim-client")
    broker.notifier_url = "https://trader.example.com/notifier/s3cret"
    reply = api.init_token_request_for_indie_user(body, "sim-client")

    assert b"UDAPI1123" in caught.value.body
    assert reply.data.notifier_url == broker.notifier_url
    assert reply.data.authorization_expiry == str(
        int(broker.pending_approval.expires_at.timestamp()) * 1000
    )
