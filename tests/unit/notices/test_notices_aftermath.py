"""What follows of events and renewals, put together; and no observer in another's way."""

import os
from datetime import timedelta

import pytest
from unit.notices.occasions import CUT, OPENS, alarm, refused, stored
from unit.plan.looks import jwt

from broker_tokens.aftermath import Aftermath
from broker_tokens.announcer import Announcer
from broker_tokens.model import Way

LIMIT = timedelta(seconds=30)


@pytest.fixture
def aftermath(trader):
    """What a service of this `.env` has, and a command after each renewal."""
    trader.set(UPSTOX_ON_RENEW=trader.program("renewed", "echo run >> runs"))
    return Aftermath(str(trader.env_file), environ={"PATH": os.defpath}, clock=trader.clock)


def test_an_event_is_logged_and_told_and_a_token_has_the_command_run(trader, aftermath, caplog):
    """`finish` waits for both."""
    aftermath.announcer.tell(alarm())
    trader.take_token("planted-token")
    aftermath.look_after(trader.look())
    aftermath.finish(LIMIT)

    assert trader.lines("kinds") == ["alarm"]
    assert trader.lines("runs") == ["run"]
    assert "ALARM" in caplog.text


def test_settings_of_the_environment_count_for_notices(trader):
    """The process environment outranks the `.env` here as everywhere."""
    other = trader.program("other", "echo other >> kinds")
    environ = {"PATH": os.defpath, "UPSTOX_NOTIFY_COMMAND": str(other)}
    aftermath = Aftermath(str(trader.env_file), environ=environ, clock=trader.clock)
    aftermath.announcer.tell(alarm())
    aftermath.finish(LIMIT)

    assert trader.lines("kinds") == ["other"]


def test_an_observer_that_fails_keeps_no_other_from_hearing(caplog):
    """Nor does it reach the renewal that brings the news."""
    heard = []

    def fail(event):
        raise RuntimeError("planted")

    announcer = Announcer([fail, heard.append, fail, heard.append])
    announcer.tell(refused(OPENS))

    assert heard == [refused(OPENS)] * 2
    assert len(caplog.records) == 2


def test_a_token_is_told_of_once_and_again_when_its_end_changes(trader):
    """By whichever thread sees it first."""
    heard = []
    announcer = Announcer([heard.append])
    trader.take_token("planted-token")
    tokens, now = trader.look().tokens, trader.clock.now
    for _ in range(3):
        announcer.tell_stored(now, tokens, Way.PASTE)
    announcer.notice(trader.look())

    assert heard == [stored(now, Way.PASTE, tokens.access_token.fingerprint)]


def test_what_was_there_at_the_start_is_no_news_and_what_another_process_stores_is(trader):
    """The first look tells of nothing; a later one of what came in between, by its way."""
    heard = []
    announcer = Announcer([heard.append])
    trader.take_token("planted-token")
    announcer.notice(trader.look())
    assert heard == []
    trader.take_token("planted-second-token", way=Way.PASTE)
    announcer.notice(trader.look())
    announcer.notice(trader.look())

    assert [event.way for event in heard] == [Way.PASTE]


def test_a_token_that_is_dead_or_somebody_elses_is_not_told_of(trader):
    """The first is of no use, the second is told of once it has been taken over."""
    heard = []
    announcer = Announcer([heard.append])
    announcer.notice(trader.look())
    trader.take_token("planted-token")
    announcer.tell_stored(CUT, trader.look().tokens, Way.PASTE)
    trader.set(access_token=jwt(CUT).reveal())
    announcer.notice(trader.look())

    assert heard == []


def test_who_is_asked_to_stop_waits_for_no_command(trader):
    """A signal outranks a notice under way."""
    trader.set(UPSTOX_ON_RENEW=trader.program("slow", "sleep 1; echo run >> runs"))
    aftermath = Aftermath(str(trader.env_file), environ={"PATH": os.defpath}, clock=trader.clock)
    trader.take_token("planted-token")
    aftermath.look_after(trader.look())
    aftermath.finish(LIMIT, lambda: True)
    was_left = not trader.lines("runs")
    aftermath.finish(LIMIT)

    assert was_left
    assert trader.lines("runs") == ["run"]


def test_a_slip_in_the_env_silences_no_alarm(trader):
    """The settings that were right at the start hold on."""
    aftermath = Aftermath(str(trader.env_file), environ={"PATH": os.defpath}, clock=trader.clock)
    trader.set(UPSTOX_SESSION="9")
    aftermath.announcer.tell(alarm())
    aftermath.finish(LIMIT)

    assert trader.lines("kinds") == ["alarm"]


def test_a_channel_that_hangs_does_not_delay_the_command(trader):
    """Each has a thread of its own: here the notice ends only once the command has run."""
    runs = trader.folder / "runs"
    trader.set(
        UPSTOX_NOTIFY_COMMAND=trader.program(
            "patient", f"while [ ! -e {runs} ]; do sleep 0.05; done; echo told >> kinds"
        ),
        UPSTOX_ON_RENEW=trader.program("renewed", "echo run >> runs"),
    )
    aftermath = Aftermath(str(trader.env_file), environ={"PATH": os.defpath}, clock=trader.clock)
    aftermath.announcer.tell(alarm())
    trader.take_token("planted-token")
    aftermath.look_after(trader.look())
    aftermath.finish(LIMIT)

    assert trader.lines("kinds") == ["told"]
