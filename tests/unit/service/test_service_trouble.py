"""The person is told whatever else goes wrong: a broker in trouble, a full disk, wrong keys."""

import errno

import pytest
from support.house import ist
from unit.service.scripted import ScriptedBroker

from broker_tokens.durable_file import Replacement
from broker_tokens.errors import ConfigurationError, TemporaryFailure
from broker_tokens.model import AppRefused, PersonNeeded, RenewalFailed

FRIDAY = ["08:30", "08:45", "08:55", "09:00", "09:30", "10:00"]


@pytest.fixture
def broken():
    """A broker whose every answer is a passing failure."""

    def fail():
        raise TemporaryFailure("Upstox is down.", "Try again later.")

    made = ScriptedBroker()
    made.refresh_with = made.approve_with = made.life = fail
    return made


@pytest.fixture
def full(monkeypatch):
    """Fill the disk for the files whose names end so; an empty set frees it."""
    endings = {".env", ".json"}
    make = Replacement._make_temporary

    def make_or_fail(replacement):
        if replacement._path.endswith(tuple(endings)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(replacement)

    monkeypatch.setattr(Replacement, "_make_temporary", make_or_fail)
    return endings


def morning(house, service, until="2026-11-20 10:01"):
    """Tick as the loop does: when something is due, at least once a minute, never in a rush."""
    while house.clock.now < ist(until):
        due = service.tick().next_due
        pause = min(max((due - house.clock.now).total_seconds(), 1), 60)
        house.clock.advance(seconds=pause)


def hours(house, kind):
    return [f"{event.at:%H:%M}" for event in house.events if isinstance(event, kind)]


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("07:30", ["08:01", *FRIDAY]),  # the first word waits for four quick tries
        ("08:52", ["08:53", "08:55", "09:00", "09:30", "10:00"]),
        ("09:20", ["09:21", "09:30", "10:00"]),
    ],
)
@pytest.mark.parametrize("way", ["phone", "refresh token"])
def test_tries_that_go_on_failing_silence_no_reminder(listening, broken, start, told, way):
    """In the session they are a minute apart or less: the next one is always near."""
    listening.clock.now = ist(f"2026-11-20 {start}")
    if way == "refresh token":
        listening.set(UPSTOX_REFRESH_TOKEN="r" * 20)
    morning(listening, broken.service(listening, is_listening=way == "phone"))
    heard = hours(listening, PersonNeeded)

    # At 07:30 the refresh grant has failed for long; then the hour itself is the time to tell.
    assert heard[-5:] == told[-5:]
    assert set(told) - {"08:01"} <= set(heard)
    assert heard[0] in ("08:00", told[0])


@pytest.mark.parametrize("is_listening", [True, False])
@pytest.mark.parametrize("files", [{".env"}, {".json"}, {".env", ".json"}])
def test_a_full_disk_silences_nobody(listening, broken, full, files, is_listening):
    """What cannot be noted is told once all the same, and one trouble is one line of the log."""
    broken.approve_with = lambda: pytest.fail("asked with nowhere to put the answer")
    full &= files
    listening.clock.now = ist("2026-11-20 07:40")
    morning(listening, broken.service(listening, is_listening=is_listening))

    assert hours(listening, PersonNeeded) == ["08:00", *FRIDAY]
    assert len(hours(listening, RenewalFailed)) <= 2


def test_a_trouble_that_comes_back_is_said_again(listening, broken, full):
    """Only as long as it lasts is it the same one."""
    service = broken.service(listening)
    service.tick()
    full.clear()
    listening.clock.now = ist("2026-11-20 08:30")
    service.tick()
    full.add(".json")
    listening.clock.now = ist("2026-11-20 08:45")
    service.tick()

    assert hours(listening, RenewalFailed) == ["08:00", "08:45"]
    assert hours(listening, PersonNeeded) == ["08:00", "08:30", "08:45"]


def test_wrong_keys_found_at_night_are_a_matter_for_the_morning(house):
    """The log has it at once; the person hears of it when a login is asked for."""
    broker = ScriptedBroker()

    def refuse():
        raise ConfigurationError("Upstox refuses the app's credentials.", "Compare them.")

    broker.refresh_with = refuse
    house.set(UPSTOX_REFRESH_TOKEN="r" * 20)
    house.clock.now = ist("2026-11-20 02:00")
    morning(house, broker.service(house), "2026-11-20 08:31")
    refusals = [e for e in house.events if isinstance(e, AppRefused)]

    assert [(f"{e.at:%H:%M}", e.is_urgent) for e in refusals] == [
        ("02:00", False),
        ("08:00", True),
        ("08:30", True),
    ]
    assert "refuses the app's credentials" in refusals[1].sentence
