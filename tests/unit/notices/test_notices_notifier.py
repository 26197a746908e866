"""From an event to the trader's own programs: once, noted first, and in nobody's way."""

import json
import logging
import threading
from datetime import timedelta

import pytest
from unit.notices.occasions import LINK, OPENS, alarm, asked, died, needed, on_friday, refused

from broker_tokens.errors import ConfigurationError
from broker_tokens.model import RenewalFailed, Stage
from broker_tokens.notices import channels
from broker_tokens.store import TokenStore


def test_a_notice_reaches_the_program_in_both_forms(trader):
    """The text on standard input; kind, title and body in the environment."""
    trader.start_notifier()(alarm())
    text, environ = trader.lines("texts"), "\n".join(trader.lines("told_environ"))

    assert trader.lines("kinds") == ["alarm"]
    assert text[0] == "ALARM: no Upstox token, and the session is open"
    assert text[1] == ""
    assert f"Log in: {LINK}" in text[2:]
    assert f"UPSTOX_NOTICE_TITLE={text[0]}" in environ
    assert f"UPSTOX_NOTICE_BODY={text[2]}" in environ


def test_a_notice_is_sent_once_a_day_over_any_number_of_restarts(trader):
    """And again the next day."""
    tomorrow = timedelta(days=1)
    for _ in range(3):
        trader.start_notifier()(refused(OPENS), refused(OPENS + timedelta(minutes=1)))
    first = trader.lines("kinds")
    trader.start_notifier()(refused(OPENS + tomorrow))

    assert first == ["refused"]
    assert trader.lines("kinds") == ["refused", "refused"]
    assert trader.state.noticed == {"refused": OPENS + tomorrow}


def test_two_processes_tell_once(trader):
    """The service and a manager in a strategy see the same thing at the same time."""
    here, there = trader.start_notifier(), trader.start_notifier()
    for hour in ("08:30", "08:45", "09:00"):
        event = needed(Stage.REMIND, on_friday(hour))
        here.notifier(event)
        there.notifier(event)
    here()
    there()

    assert len(trader.lines("kinds")) == 3


def test_what_is_nobodys_business_is_not_sent(trader):
    """A failure that will be tried again."""
    trader.start_notifier()(RenewalFailed(OPENS, "503", OPENS))

    assert trader.lines("kinds") == []
    assert trader.state.noticed == {}


def test_it_is_noted_before_it_is_sent(trader):
    """A crash while a channel is busy can never repeat it."""
    copy = trader.program("copy", "cp .env.state.json seen_by_program")
    trader.set(UPSTOX_NOTIFY_COMMAND=copy)
    trader.start_notifier()(alarm())

    seen = json.loads("\n".join(trader.lines("seen_by_program")))
    assert list(seen["noticed"]) == ["alarm-0900"]


def test_what_nobody_was_there_for_is_told_once_somebody_is(unreached):
    """A channel counts at the next notice, without a restart; nothing was noted before it."""
    notifier = unreached.start_notifier()
    notifier(alarm())
    assert unreached.state.noticed == {}
    program = unreached.program("tell", 'echo "$UPSTOX_NOTICE_KIND" >> kinds')
    unreached.set(UPSTOX_NOTIFY_COMMAND=program)
    notifier(alarm())

    assert unreached.lines("kinds") == ["alarm"]


def test_the_rest_of_the_state_is_kept(trader):
    """Noting a notice forgets nothing that another has saved."""
    trader.take_token("planted-token")
    before = trader.state
    trader.start_notifier()(died(OPENS))
    after = trader.state

    assert before.written
    assert (after.written, after.last_renewal) == (before.written, before.last_renewal)
    assert trader.store.load().tokens.access_token is not None


def jam_by_lock(trader):
    """Have another process hold the lock for longer than anybody waits."""
    lock = trader.store.writing()
    lock.__enter__()
    return TokenStore(str(trader.env_file), lock_timeout=timedelta(0)), lock


def jam_by_folder(trader):
    """Have the state be something that cannot be replaced, as on a broken disk."""
    trader.folder.joinpath(".env.state.json").mkdir()
    return trader.store, None


@pytest.fixture(params=[jam_by_lock, jam_by_folder], ids=["the lock is held", "a broken disk"])
def jammed(trader, request):
    """A store into which nothing can be noted."""
    settings = trader.settings()
    store, lock = request.param(trader)
    yield trader.start_notifier(store, lambda: settings)
    if lock is not None:
        lock.__exit__(None, None, None)


def test_what_cannot_be_noted_is_told_all_the_same_and_once(trader, jammed, caplog):
    """The alarm of a full disk is the one that must not be missed."""
    jammed(alarm(), alarm(OPENS + timedelta(minutes=1), due_at=OPENS), refused(OPENS))

    assert trader.lines("kinds") == ["alarm", "refused"]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_the_days_bound_holds_where_nothing_can_be_noted(trader, jammed):
    """The process remembers what the disk cannot."""
    events = [died(OPENS + timedelta(minutes=n), f"f{n}") for n in range(20)]
    jammed(*events)

    assert len(trader.lines("kinds")) == 5  # and places kept for alarm and good news


def test_what_was_told_while_the_disk_was_full_is_known_after_it(trader):
    """The next one that can be noted brings the earlier ones along."""
    state = trader.folder / ".env.state.json"
    settings = trader.settings()
    notifier = trader.start_notifier(settings=lambda: settings)
    state.mkdir()
    notifier(alarm())
    state.rmdir()
    notifier(refused(OPENS))
    trader.start_notifier()(alarm(), refused(OPENS))

    assert trader.lines("kinds") == ["alarm", "refused"]


def test_settings_that_cannot_be_read_disturb_nobody(trader, caplog):
    """The caller does not hear of it, the log does, and the next notice is sent."""
    broken = [ConfigurationError("UPSTOX_SESSION: planted")]

    def settings():
        if broken:
            raise broken.pop()
        return trader.settings()

    trader.start_notifier(settings=settings)(alarm(), refused(OPENS))

    assert trader.lines("kinds") == ["refused"]
    assert len(caplog.records) == 1


def test_the_caller_does_not_wait_for_a_channel(trader):
    """A renewal goes on while a program hangs: here it is let go only after the caller is back."""
    go = trader.folder / "go"
    slow = trader.program(
        "slow", "while [ ! -e go ]; do sleep 0.02; done", "cat > /dev/null; echo through >> kinds"
    )
    trader.set(UPSTOX_NOTIFY_COMMAND=slow)
    told = trader.start_notifier()
    told.notifier(asked())
    assert trader.lines("kinds") == []
    go.touch()
    told()

    assert trader.lines("kinds") == ["through"]


def test_a_program_that_fails_is_in_the_log_with_its_own_words(trader, caplog):
    """And the notice counts as given: a broken channel is no reason for a flood."""
    failing = trader.program("failing", "echo tried >> kinds", "echo 'no network' >&2", "exit 4")
    trader.set(UPSTOX_NOTIFY_COMMAND=failing)
    trader.start_notifier()(alarm(), alarm())
    message = caplog.records[0].getMessage()

    assert trader.lines("kinds") == ["tried"]
    assert len(caplog.records) == 1
    assert "UPSTOX_NOTIFY_COMMAND" in message
    assert "exit code 4" in message
    assert "no network" in message


def test_a_channel_that_hangs_is_given_up_and_the_next_notice_is_sent(trader, monkeypatch, caplog):
    """It costs its time limit, shortened here, and nothing else."""
    monkeypatch.setattr(channels, "LIMIT", timedelta(seconds=2))
    hanging = trader.program(
        "hanging",
        'echo "$UPSTOX_NOTICE_KIND" >> kinds',
        'if [ "$UPSTOX_NOTICE_KIND" = alarm ]; then exec sleep 600; fi',
    )
    trader.set(UPSTOX_NOTIFY_COMMAND=hanging)
    trader.start_notifier()(alarm(), refused(OPENS))

    assert trader.lines("kinds") == ["alarm", "refused"]
    assert ["ended after 2 s" in record.getMessage() for record in caplog.records] == [True]


def test_many_threads_can_tell_at_once(trader):
    """The loop and the listener bring the same news: it is told once."""
    told = trader.start_notifier()
    threads = [threading.Thread(target=told.notifier, args=(alarm(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    told()

    assert trader.lines("kinds") == ["alarm"]
