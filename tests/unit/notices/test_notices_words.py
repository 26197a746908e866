"""Every notice says what to do and where, in words that betray nothing."""

from dataclasses import fields, replace
from datetime import timedelta

import pytest
from support.house import running_house
from unit.notices.occasions import (
    CUT,
    LINK,
    OPENS,
    REFUSAL,
    alarm,
    asked,
    died,
    needed,
    on_friday,
    refused,
    stored,
)

from broker_tokens.model import RenewalFailed, Stage, Way
from broker_tokens.notices.words import Kind, notice_of

OPEN = OPENS + timedelta(hours=1)
AT_0830 = on_friday("08:30")
APPROVE = "https://account.upstox.com/developer/apps"
KEYBOARD = "python init_tokens.py"

# What is told, its kind, and what a person has to find in it.
NOTICES = {
    "approval was asked for": (asked(), Kind.ASKED, [APPROVE, "09:00 IST", "1 h 0 min", LINK]),
    "its reply got lost": (
        asked(is_certain=False),
        Kind.ASKED,
        [APPROVE, "upstox-token renew --phone", LINK],
    ),
    "its token goes elsewhere": (
        asked(goes_elsewhere="old.example"),
        Kind.ASKED,
        [APPROVE, "old.example", "upstox-token notifier", LINK],
    ),
    "it was asked for after the opening": (
        asked(OPEN),
        Kind.ASKED,
        [APPROVE, "open since 09:00 IST", LINK],
    ),
    "a login is needed": (
        needed(Stage.ASK, on_friday("08:00")),
        Kind.LOGIN,
        [KEYBOARD, "09:00 IST", "1 h 0 min", LINK],
    ),
    "a reminder": (
        needed(Stage.REMIND, AT_0830),
        Kind.REMINDER,
        [KEYBOARD, "09:00 IST", "30 min", LINK],
    ),
    "a reminder of a request": (
        needed(Stage.REMIND, AT_0830, asked_at=on_friday("08:00")),
        Kind.REMINDER,
        [APPROVE, "08:00 IST", "upstox-token renew --phone", LINK],
    ),
    "the alarm": (alarm(), Kind.ALARM, [KEYBOARD, "open since 09:00 IST", LINK]),
    "the alarm after a request": (
        alarm(asked_at=on_friday("08:00")),
        Kind.ALARM,
        [APPROVE, "08:00 IST", LINK],
    ),
    "still none": (
        needed(Stage.REMIND, OPEN),
        Kind.STILL_NONE,
        [KEYBOARD, "open since 09:00 IST", LINK],
    ),
    "a new token": (
        stored(AT_0830),
        Kind.NEW_TOKEN,
        ["by your login", "Sat 21 Nov 2026 03:30 IST", "Nothing needs to be done"],
    ),
    "the app is refused": (refused(AT_0830), Kind.REFUSED, [REFUSAL]),
    "the token died": (
        died(AT_0830),
        Kind.DIED,
        ["before its time", "static IP", "looks for another by itself"],
    ),
}
WITH_A_LINK = [event for event, _, _ in NOTICES.values() if hasattr(event, "login_url")]


def text_of(event):
    """Return all that a person sees of an event."""
    notice = notice_of(event)
    return f"{notice.title}\n{notice.body}"


@pytest.mark.parametrize(("event", "kind", "words"), NOTICES.values(), ids=NOTICES)
def test_a_notice_says_what_it_is_and_what_to_do(event, kind, words):
    """Its kind for programs; the hour, the remedy and the link for people."""
    notice = notice_of(event)

    assert notice.kind is kind
    assert [each for each in words if each not in notice.body] == []
    assert notice.title
    assert "\n" not in notice.title


def test_the_table_holds_each_kind_that_an_event_can_bring():
    """A new kind of notice is to be added above."""
    assert {kind for _, kind, _ in NOTICES.values()} == set(Kind) - {Kind.TEST, Kind.UNIT_FAILED}


def test_a_failure_that_the_service_mends_itself_is_nobodys_business():
    """It is in the log."""
    assert notice_of(RenewalFailed(AT_0830, "503 Service Unavailable", AT_0830)) is None


@pytest.mark.parametrize("event", WITH_A_LINK, ids=lambda event: text_of(event)[:40])
def test_without_a_link_the_keyboard_is_named(event):
    """Without the app's credentials there is no login address; no empty line stands for it."""
    text = text_of(replace(event, login_url=""))

    assert KEYBOARD in text
    assert LINK not in text
    assert "Log in: \n" not in text


def test_each_way_of_a_token_has_words_of_its_own():
    """Only the renewal that nobody waited for is silent news."""
    notices = {way: notice_of(stored(AT_0830, way)) for way in Way}

    assert len({notice.body for notice in notices.values()}) == len(Way)
    assert [way for way in Way if notices[way].is_silent_news] == [Way.REFRESH_GRANT]


def test_only_new_tokens_are_silent_news():
    """Whatever asks for something is told to everybody."""
    events = [event for event, kind, _ in NOTICES.values() if kind is not Kind.NEW_TOKEN]

    assert not any(notice_of(event).is_silent_news for event in events)


def test_what_is_told_apart_has_keys_of_its_own():
    """Each stage by its hour and each token by its fingerprint; a request by its hour."""
    events = [
        *(needed(Stage.REMIND, on_friday(hour)) for hour in ("08:30", "08:45", "09:30", "15:00")),
        *(needed(Stage.ASK, AT_0830), alarm(AT_0830), needed(Stage.REMIND, AT_0830)),
        *(stored(AT_0830), stored(AT_0830, fingerprint="f2")),
        *(died(AT_0830), died(AT_0830, "f2"), refused(AT_0830), asked()),
    ]
    keys = [notice_of(event).key for event in events]

    assert keys.count("remind-0830") == 2
    assert len(set(keys)) == len(keys) - 1
    assert notice_of(asked(OPEN)).key != notice_of(asked()).key


def test_a_late_reminder_is_known_by_the_hour_it_was_due():
    """A machine that was asleep tells it later, and it is the same one."""
    late = needed(Stage.REMIND, on_friday("08:40"), due_at=AT_0830)

    assert notice_of(late).key == notice_of(needed(Stage.REMIND, AT_0830)).key


# What a person has to be shown; everything else must not appear.
SHOWN = {"login_url", "goes_elsewhere", "sentence"}


def test_no_field_that_is_not_meant_for_people_is_shown():
    """Whatever a fingerprint or an account's name holds, it is in no text."""
    planted = []
    for event, _, _ in NOTICES.values():
        hidden = {
            f.name: f"planted-{f.name}"
            for f in fields(event)
            if isinstance(getattr(event, f.name), str)
            and f.name not in {*SHOWN, "stage", "way", "at"}
        }
        planted.append(replace(event, **hidden))
    texts = [text_of(event) for event in planted]

    assert any("planted" in repr(event) for event in planted)
    assert not any("planted" in text for text in texts)


KEY = "planted-notifier-secret-of-this-house"


@pytest.fixture
def bad_day(tmp_path):
    """Every event of a day on which everything happens, and the house with its secrets."""
    with running_house(tmp_path, "2026-11-20 08:00") as house:
        house.set(UPSTOX_NOTIFIER_SECRET=KEY, UPSTOX_USER_ID="SIM001")
        house.broker.notifier_url = f"https://old.example/notifier/{KEY}-of-yesterday"
        service = house.service(is_listening=True)
        house.tokens = []
        for hour in ("08:00", "08:30", "09:00", "09:30"):
            house.clock.now = on_friday(hour)
            service.tick()
        house.tokens.append(house.log_in())
        service.tick()
        house.clock.now = on_friday("10:00")
        house.broker.revoke_all()
        service.tick()
        house.set(UPSTOX_CLIENT_SECRET="planted-wrong-secret")
        house.clock.now = on_friday("08:00") + timedelta(days=3)
        service.tick()
        yield house


def test_no_notice_of_a_bad_day_holds_a_secret(bad_day):
    """Neither the app's secret, nor the notifier's, nor a token; of an address only the host."""
    notices = [notice for notice in map(notice_of, bad_day.events) if notice is not None]
    text = "\n".join(f"{notice.title}\n{notice.body}\n{notice.key}" for notice in notices)
    secrets = [KEY, "planted-wrong-secret", "sim-secret", *bad_day.tokens]

    assert {notice.kind for notice in notices} == set(Kind) - {Kind.TEST, Kind.UNIT_FAILED}
    assert "old.example" in text
    assert [secret for secret in secrets if secret in text] == []


def test_the_life_of_a_token_is_told_in_indian_time():
    """Wherever the machine stands."""
    assert "Sat 21 Nov 2026 03:30 IST" in text_of(stored(CUT - timedelta(hours=20)))
