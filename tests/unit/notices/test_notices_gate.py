"""Each notice once a day, seven a day at most, and what counts finds a place; restarts included."""

import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from unit.notices.occasions import (
    MIDNIGHT,
    OPENS,
    alarm,
    asked,
    died,
    needed,
    on_friday,
    refused,
    stored,
    tellings,
)
from unit.plan.moments import clock_times, many, session_hours

from broker_tokens.clock import IST, ist_date
from broker_tokens.model import PersonNeeded, Session, Stage, State, TokenStored, Way
from broker_tokens.notices.gate import admit
from broker_tokens.notices.words import Kind, notice_of, unit_failed
from broker_tokens.stages import stages_of
from broker_tokens.state_file import load_state, save_state

MOST = 7
NIGHT = MIDNIGHT + timedelta(days=1, seconds=-1)


class Phone:
    """What gets through, where a restart leaves only what the state file holds."""

    def __init__(self) -> None:
        self.noticed: dict[str, datetime] = {}
        self.received: list[tuple[datetime, str, Kind]] = []

    def tell(self, *events):
        """Tell of events in order; return whether the last one got through."""
        noticed = None
        for event in events:
            notice = notice_of(event)
            noticed = admit(notice, self.noticed, event.at)
            if noticed is not None:
                self.noticed = noticed
                self.received.append((event.at, notice.key, notice.kind))
        return noticed is not None

    def restart(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ".env"
            path.touch()
            state = f"{path}.state.json"
            save_state(state, State(noticed=self.noticed), owned_like=str(path), durable=False)
            self.noticed = load_state(state).noticed

    @property
    def kinds(self) -> list[Kind]:
        return [kind for _, _, kind in self.received]


@many
@given(tellings(days=3))
def test_no_day_has_more_than_seven_and_none_of_them_twice(events):
    """Whatever happens, however often it is told."""
    phone = Phone()
    phone.tell(*events)
    days = Counter(ist_date(at) for at, _, _ in phone.received)
    told = [(ist_date(at), key) for at, key, _ in phone.received]

    assert all(count <= MOST for count in days.values())
    assert len(set(told)) == len(told)


@many
@given(tellings(days=2), st.sets(st.integers(0, 40)))
def test_restarts_change_nothing(events, restarts):
    """What was told today is in the saved state."""
    running, restarted = Phone(), Phone()
    running.tell(*events)
    for place, event in enumerate(events):
        if place in restarts:
            restarted.restart()
        restarted.tell(event)

    assert restarted.received == running.received


def test_the_worst_day_has_exactly_seven():
    """The bound is reached, so that it is one."""
    phone = Phone()
    phone.tell(alarm())
    halves = [on_friday(f"{hour}:{minute}") for hour in range(10, 15) for minute in ("00", "30")]
    for at in halves:
        token = f"{at:%H%M}"
        phone.tell(needed(Stage.REMIND, at), refused(at), died(at, token))
        phone.restart()
    phone.tell(*(stored(on_friday("15:00"), Way.PASTE, token) for token in "ab"))

    assert len(phone.received) == MOST


@many
@given(tellings(without=TokenStored), st.sampled_from([w for w in Way if w != "refresh_grant"]))
def test_the_good_news_finds_a_place_on_any_day(events, way):
    """However much the person was told before it."""
    phone = Phone()
    phone.tell(*events)

    assert phone.tell(stored(NIGHT, way))


def broken(unit, status):
    return unit_failed(unit, {"MONITOR_SERVICE_RESULT": "exit-code", "MONITOR_EXIT_STATUS": status})


def test_a_service_that_fails_on_a_bad_morning_is_told():
    """However much has been said that day, and it takes nobody's place; three times at most."""
    noticed, sent = {}, []
    for number in range(10):
        noticed = admit(broken("a.service", f"{number}"), noticed, OPENS) or noticed
    units = len(noticed)
    for minute in range(20):
        event = died(OPENS + timedelta(minutes=minute), f"{minute:08x}")
        sent.append(admit(notice_of(event), noticed, event.at))
        noticed = sent[-1] or noticed
    late = admit(
        broken("b.service", "78"), {k: v for k, v in noticed.items() if k[0] != "u"}, NIGHT
    )

    assert units == 3
    assert sum(each is not None for each in sent) == MOST - 2, "the alarm and the news keep theirs"
    assert late is not None


@many
@given(tellings())
def test_the_next_day_starts_afresh(events):
    """Everything of yesterday can be told again, from midnight in India on."""
    assume(events)
    phone = Phone()
    phone.tell(*events)
    phone.restart()
    morning = MIDNIGHT + timedelta(days=1)
    again = [asked(morning), refused(morning), alarm(morning, due_at=OPENS), died(morning)]

    assert [phone.tell(event) for event in again] == [True] * 4
    assert len(phone.noticed) == 4


@many
@given(tellings())
def test_a_silent_renewal_is_told_only_to_whom_something_was_told_that_day(events):
    """Who was asked this morning learns that it is mended; who slept is left alone."""
    phone = Phone()
    phone.tell(*events)
    assume(len(phone.received) < MOST - 2)

    silent = stored(NIGHT, Way.REFRESH_GRANT, "of tonight")
    assert phone.tell(silent) is bool(phone.received)


def test_yesterdays_notices_do_not_make_tonights_renewal_news():
    """The renewal of 02:00 follows a day on which the person was asked; it wakes nobody."""
    phone = Phone()
    phone.tell(asked(on_friday("08:00")), stored(on_friday("08:05")))

    tonight = MIDNIGHT + timedelta(days=1, hours=2)
    assert not phone.tell(stored(tonight, Way.REFRESH_GRANT, "f2"))


def test_indias_midnight_parts_the_days():
    """18:30 UTC, not midnight elsewhere: a second alarm of one Indian day is none."""
    before, after = MIDNIGHT + timedelta(hours=5), MIDNIGHT + timedelta(hours=6)
    phone = Phone()

    assert phone.tell(refused(before))
    assert not phone.tell(refused(after))  # 00:30 UTC, another day in London
    assert phone.tell(refused(MIDNIGHT + timedelta(days=1)))


@pytest.fixture(params=["phone", "login"])
def first_word(request):
    """The event of 08:00: approval was asked for, or a login is."""

    def at(due):
        return asked(due) if request.param == "phone" else needed(Stage.ASK, due)

    return at


def test_a_day_on_which_nobody_answers(first_word):
    """Asked, three reminders, the alarm, once more; the seventh place is kept for the good news."""
    phone = Phone()
    session = Session(OPENS, on_friday("15:30"))
    for stage in stages_of(session, on_friday("08:00").time()):
        is_first = stage.stage is Stage.ASK
        phone.tell(first_word(stage.due_at) if is_first else needed(stage.stage, stage.due_at))
        phone.restart()
    phone.tell(stored(on_friday("15:29")))

    assert phone.kinds[1:] == [*[Kind.REMINDER] * 3, Kind.ALARM, Kind.STILL_NONE, Kind.NEW_TOKEN]


@many
@given(session_hours, clock_times, st.integers(0, 6), st.sampled_from([refused, died]))
def test_the_alarm_comes_with_any_session_and_one_more_mishap_at_any_time(hours, asks, place, more):
    """Its place is not taken by reminders."""
    opens, closes = (
        datetime.combine(ist_date(OPENS), at, IST) for at in (hours.opens, hours.closes)
    )
    stages = stages_of(Session(opens, closes), asks)
    events = [needed(s.stage, s.due_at, session_opens=opens) for s in stages]
    nearest = events[min(place, len(events) - 1)]
    events.insert(events.index(nearest), more(nearest.at))
    phone = Phone()
    phone.tell(*events)

    assert any(isinstance(event, PersonNeeded) for event in events)
    assert phone.kinds.count(Kind.ALARM) == 1


def test_what_a_wrong_clock_noticed_later_than_now_says_nothing():
    """The clock was hours ahead; once it is right again, the alarm of the day is told."""
    phone = Phone()
    phone.tell(alarm(on_friday("14:00"), due_at=OPENS))

    assert phone.tell(alarm(OPENS))
    assert not phone.tell(alarm(OPENS))


def test_tokens_that_come_and_die_all_morning_leave_the_alarm_its_place():
    """A day has seven, and it is one of them."""
    phone = Phone()
    for minute in range(5, 55, 5):
        at = on_friday(f"08:{minute:02}")
        phone.tell(stored(at, Way.BROWSER_LOGIN, f"{at}"), died(at, f"{at}"), refused(at))
    phone.tell(needed(Stage.REMIND, on_friday("08:55")), alarm())

    assert phone.kinds[-1] is Kind.ALARM
    assert len(phone.kinds) < MOST


def test_a_second_request_for_approval_is_a_notice_of_its_own():
    """The token of the first one died early; the hour tells them apart."""
    phone = Phone()
    phone.tell(asked(on_friday("08:00")), asked(on_friday("08:00")), asked(on_friday("11:05")))

    assert phone.kinds == [Kind.ASKED, Kind.ASKED]


def test_news_of_two_threads_may_come_out_of_order():
    """What came a moment early still counts as sent; what an hour's step back left does not."""
    phone = Phone()
    for second in range(6):
        phone.tell(died(on_friday(f"10:00:0{second}"), f"a{second}"))
    phone.tell(refused(on_friday("09:59")))
    phone.tell(*(died(on_friday("10:10"), f"b{number}") for number in range(6)))
    in_order = len(phone.kinds)
    phone.tell(refused(on_friday("08:00")))

    assert (in_order, len(phone.kinds)) == (5, 6)
