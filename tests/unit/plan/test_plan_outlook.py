"""Is the coming session safe? A table over the hours of a day. 20 November 2026 is a Friday."""

from datetime import date, timedelta

import pytest
from support.house import ist
from unit.plan.looks import APP, OPAQUE, REFRESH, jwt, look_at

from broker_tokens.attendance import Attendance
from broker_tokens.model import Approval, MarketDays, State
from broker_tokens.outlook import Level, outlook
from broker_tokens.settings import load_settings

OK, WARNING, CRITICAL = Level.OK, Level.WARNING, Level.CRITICAL
TODAY, TOMORROW = "2026-11-20 03:30", "2026-11-21 03:30"
REFUSED_APP = load_settings(APP, {}).credentials_fingerprint


def hour(now, level, words, **given) -> dict:
    """Return one row: the time, who watches and what is stored, and what is said of it."""
    return {"now": now, "level": level, "words": words, **given}


# watch: who looks after it, and `minutes` ago it looked: a service (the default), `once`, a service
# that was `killed` since, or nobody. token: the end of the stored one, "unknown", or none (the
# default). silent: by the refresh token.
HOURS = {
    # A person's way, watched.
    "the evening before: nothing to do yet": hour(
        "2026-11-19 20:00", OK, "needs you at 08:00 IST: a login", token=TODAY),
    "the night: the old token is dead, and nobody is woken": hour(
        "2026-11-20 04:00", OK, "needs you at 08:00 IST: a login", token=TODAY),
    "a minute before the hour of asking": hour(
        "2026-11-20 07:59", OK, "needs you at 08:00 IST: a login", token=TODAY),
    "the hour of asking": hour(
        "2026-11-20 08:00", WARNING, "needs you now: log in", token=TODAY),
    "a minute before the session opens": hour(
        "2026-11-20 08:59", WARNING, "needs you now: log in", token=TODAY),
    "the session opens": hour(
        "2026-11-20 09:00", CRITICAL, "NOT SAFE: it is open and no live token", token=TODAY),
    "a minute before the session closes": hour(
        "2026-11-20 15:29", CRITICAL, "NOT SAFE: it is open and no live token", token=TODAY),
    "the session is over: the next one is Monday's": hour(
        "2026-11-20 15:30", OK, "Mon 23 Nov 2026 09:00 IST: needs you at 08:00", token=TODAY),
    "a Saturday": hour(
        "2026-11-21 12:00", OK, "Mon 23 Nov 2026 09:00 IST: needs you at 08:00"),
    "a holiday is no session": hour(
        "2026-11-19 20:00", OK, "Mon 23 Nov 2026 09:00 IST: needs you", holiday=date(2026, 11, 20)),
    "an asking hour of its own": hour(
        "2026-11-20 07:30", WARNING, "needs you now", UPSTOX_APPROVAL_TIME="07:00"),
    "asked only in the session, it is critical when that opens": hour(
        "2026-11-20 09:10", CRITICAL, "it is open", UPSTOX_APPROVAL_TIME="10:00"),
    "the phone can be asked": hour(
        "2026-11-19 20:00", OK, "at 08:00 IST: an approval on the phone, or a login", phone=True),
    "the phone can be asked, and no channel is set": hour(
        "2026-11-19 20:00", OK, "or a login; Upstox will ask, else the log will say so",
        phone=True),
    "the phone can be asked, and a channel is set": hour(
        "2026-11-19 20:00", OK, "or a login; you will be asked", phone=True,
        UPSTOX_NOTIFY_COMMAND="true"),
    "the phone has been asked": hour(
        "2026-11-20 08:10", WARNING, "approve the request of 08:00 on the phone", phone=True,
        asked="2026-11-20 08:00"),
    "the phone was asked yesterday": hour(
        "2026-11-20 08:10", WARNING, "needs you now: log in", asked="2026-11-19 08:00"),
    "the phone was asked and the session is open": hour(
        "2026-11-20 09:10", CRITICAL, "approve the request of 08:00", phone=True,
        asked="2026-11-20 08:00"),
    "with a channel for notices, you will be asked": hour(
        "2026-11-19 20:00", OK, "a login; you will be asked", UPSTOX_NOTIFY_COMMAND="true"),
    "without one, the log alone will say so": hour(
        "2026-11-19 20:00", OK, "a login; only the log will say so"),
    # Covered.
    "the stored token covers the session": hour(
        "2026-11-20 08:30", OK, "covered by the stored token", token=TOMORROW),
    "covered and open: the question is the next one": hour(
        "2026-11-20 12:00", OK, "Mon 23 Nov 2026 09:00 IST: needs you at 08:00", token=TOMORROW),
    "covered and open, and nobody watches: the next one is not safe": hour(
        "2026-11-20 12:00", WARNING, "Mon 23 Nov 2026 09:00 IST: NOT SAFE: nobody looks",
        token=TOMORROW, watch="nobody"),
    "covered and open, renewed silently before the next one": hour(
        "2026-11-19 12:00", OK, "will be renewed silently at Fri 20 Nov 2026 03:31",
        token=TODAY, silent=True),
    "covered, and nobody watches: this session is safe": hour(
        "2026-11-20 08:30", OK, "covered by the stored token", token=TOMORROW, watch="nobody"),
    "covered, though the app is refused": hour(
        "2026-11-20 08:30", OK, "covered by the stored token", token=TOMORROW,
        refused=(REFUSED_APP,)),
    # Silently.
    "a silent renewal after the cut": hour(
        "2026-11-19 20:00", OK, "will be renewed silently at Fri 20 Nov 2026 03:31", token=TODAY,
        silent=True),
    "what 02:00 brings does not cover the day, what 03:31 brings does": hour(
        "2026-11-20 01:00", OK, "will be renewed silently at Fri 20 Nov 2026 03:31", token=TODAY,
        silent=True),
    "a silent renewal is due and about to come": hour(
        "2026-11-20 03:35", OK, "will be renewed silently at Fri 20 Nov 2026 03:35", token=TODAY,
        silent=True),
    "a silent renewal is kept from coming, by a full disk or a lock": hour(
        "2026-11-20 03:36", WARNING, "was due at Fri 20 Nov 2026 03:31 IST and has not come",
        token=TODAY, silent=True),
    "the same, where no token is stored": hour(
        "2026-11-20 07:59", WARNING, "has not come; the log says why, or log in", silent=True),
    "a token that ended in the day, and its renewal is kept from coming": hour(
        "2026-11-20 07:00", WARNING, "was due at Fri 20 Nov 2026 06:00 IST",
        token="2026-11-20 06:00", silent=True),
    "a machine that was asleep over 08:00 renews now": hour(
        "2026-11-20 08:20", WARNING, "was due at Fri 20 Nov 2026 03:31", token=TODAY, silent=True),
    "silent renewals fail in the night": hour(
        "2026-11-20 04:00", WARNING, "has failed 5 times; next try Fri 20 Nov 2026 04:05",
        token=TODAY, silent=True, failures=5, retry="2026-11-20 04:05"),
    "silent renewals fail after the hour of asking: a login helps": hour(
        "2026-11-20 08:30", WARNING, "next try Fri 20 Nov 2026 08:31 IST, or log in", token=TODAY,
        silent=True, failures=1, retry="2026-11-20 08:31"),
    "silent renewals fail and the session is open": hour(
        "2026-11-20 09:00", CRITICAL, "no live token is stored; renewal is being tried",
        token=TODAY, silent=True, failures=5, retry="2026-11-20 09:01"),
    "a short-lived token in the session is renewed in time": hour(
        "2026-11-20 12:00", OK, "will be renewed silently at Fri 20 Nov 2026 12:25",
        token="2026-11-20 12:30", silent=True),
    "a short-lived token in the session, and no silent way": hour(
        "2026-11-20 12:00", WARNING, "needs you now: log in", token="2026-11-20 12:30"),
    # A token that does not tell its end.
    "whose end is being found out": hour(
        "2026-11-20 12:00", WARNING, "how long the stored token lives is not known",
        token="unknown"),
    "whose end nobody finds out": hour(
        "2026-11-20 12:00", CRITICAL, "NOT SAFE: nobody looks after this .env", token="unknown",
        watch="nobody"),
    # Nobody watches.
    "the evening before, nobody watches": hour(
        "2026-11-19 20:00", WARNING, "NOT SAFE: nobody looks after this .env", watch="nobody"),
    "two hours before the asking, nobody watches": hour(
        "2026-11-20 06:00", CRITICAL, "NOT SAFE: nobody looks after this .env", watch="nobody"),
    "a minute before that": hour(
        "2026-11-20 05:59", WARNING, "NOT SAFE: nobody looks after this .env", watch="nobody"),
    "nobody watches, and a silent way does not help": hour(
        "2026-11-20 06:00", CRITICAL, "NOT SAFE: nobody", watch="nobody", silent=True),
    "a weekend without a watch is only a warning": hour(
        "2026-11-21 12:00", WARNING, "so nobody will renew or ask", watch="nobody"),
    "--once looked 7 minutes ago": hour(
        "2026-11-20 07:00", OK, "needs you at 08:00", watch="once", minutes=7),
    "--once looked 29 minutes ago": hour(
        "2026-11-20 07:00", OK, "needs you at 08:00", watch="once", minutes=29),
    "--once does not come any more": hour(
        "2026-11-20 07:00", CRITICAL, "nobody has looked after this .env for 30 min",
        watch="once", minutes=30),
    "a service has just been killed": hour(
        "2026-11-20 07:00", CRITICAL, "NOT SAFE: nobody has looked after this .env for 1 min",
        watch="killed", minutes=1),
    "the service has just looked": hour(
        "2026-11-20 07:00", OK, "needs you at 08:00", minutes=4),
    "the service hangs": hour(
        "2026-11-20 07:00", CRITICAL, "the service (pid 4711) hangs, it has not looked for 5 min",
        minutes=5),
    "the service hangs in the evening": hour(
        "2026-11-19 20:00", WARNING, "NOT SAFE: the service (pid 4711) hangs", minutes=5),
    "the clock was set back by a day": hour(
        "2026-11-20 07:00", CRITICAL, "the service (pid 4711) hangs, it has not looked, so",
        minutes=-1440),
    "the session is open and nobody watches": hour(
        "2026-11-20 10:00", CRITICAL, "no live token is stored; nobody looks", watch="nobody"),
    # What time does not mend.
    "the app is refused, the evening before": hour(
        "2026-11-19 20:00", CRITICAL, "NOT SAFE: Upstox refuses this app", refused=(REFUSED_APP,)),
    "another app was refused": hour(
        "2026-11-19 20:00", OK, "needs you at 08:00", refused=("00000000",)),
    "no credentials": hour(
        "2026-11-19 20:00", CRITICAL, "NOT SAFE: Client ID/Secret not found", UPSTOX_CLIENT_ID="",
        watch="nobody"),
    "credentials that the service alone has, from systemd": hour(
        "2026-11-19 20:00", OK, "needs you at 08:00", UPSTOX_CLIENT_ID=""),
    "the same, and the service hangs": hour(
        "2026-11-19 20:00", CRITICAL, "NOT SAFE: Client ID/Secret not found", UPSTOX_CLIENT_ID="",
        minutes=5),
}  # fmt: skip


def attendance_of(case, now):
    watch, ago = case.pop("watch", "service"), timedelta(minutes=case.pop("minutes", 0))
    if watch == "nobody":
        return Attendance(None, "", None)
    return Attendance(4711 if watch == "service" else None, "", now - ago, watch == "once")


def state_of(case, token, expires_at):
    asked, retry, holiday = (case.pop(key, None) for key in ("asked", "retry", "holiday"))
    return State(
        written={token.fingerprint: expires_at} if token and expires_at else {},
        refused=case.pop("refused", ()),
        failures=case.pop("failures", 0),
        retry_at=retry and ist(retry),
        approval=asked and Approval(ist(asked), ist(asked) + timedelta(hours=12)),
        calendar=MarketDays({holiday: None} if holiday else {}),
    )


@pytest.mark.parametrize("case", HOURS.values(), ids=HOURS)
def test_how_the_coming_session_stands(case):
    """Level and sentence of each row; a field that nobody reads fails."""
    case = dict(case)
    now, level, words = ist(case.pop("now")), case.pop("level"), case.pop("words")
    end = case.pop("token", None)
    token = OPAQUE if end else None
    expires_at = ist(end) if end not in (None, "unknown") else None
    seen = attendance_of(case, now)
    phone = case.pop("phone", False)
    secret = {"UPSTOX_NOTIFIER_SECRET": "n" * 43} if phone else {}
    look = look_at(
        now,
        token=token,
        expires_at=expires_at,
        refresh_token=REFRESH if case.pop("silent", False) else None,
        state=state_of(case, token, expires_at),
        is_listening=phone,
        **secret,
        **{key: case.pop(key) for key in list(case) if key.startswith("UPSTOX_")},
    )
    assert not case, f"fields that nobody reads: {case}"
    ahead = outlook(look, seen)

    assert (ahead.level, words in ahead.sentence) == (level, True), ahead.sentence


def test_the_session_is_named():
    """The sentence names the session that it is about, and is one sentence."""
    ahead = outlook(look_at(ist("2026-11-19 20:00")), Attendance(None, "", None))

    assert ahead.session.opens == ist("2026-11-20 09:00")
    assert ahead.sentence.startswith("Session of Fri 20 Nov 2026 09:00 IST: ")
    assert ahead.sentence.endswith(".")


def test_a_token_of_a_year_covers_what_comes():
    """A token that tells its end covers any session before it."""
    end = ist("2027-11-20 03:30")
    look = look_at(ist("2026-11-19 20:00"), token=jwt(end), expires_at=end)

    assert outlook(look, Attendance(None, "", None)).level is OK
