"""Events as the service tells them on a Friday, and any sequence of them drawn by hypothesis."""

from datetime import datetime, time, timedelta

from hypothesis import strategies as st
from support.house import ist

from broker_tokens.clock import IST
from broker_tokens.model import (
    AppRefused,
    ApprovalAsked,
    Event,
    PersonNeeded,
    Stage,
    TokenDied,
    TokenStored,
    Way,
)

FRIDAY = "2026-11-20"
MIDNIGHT = ist(f"{FRIDAY} 00:00")
OPENS = ist(f"{FRIDAY} 09:00")
CUT = ist("2026-11-21 03:30")
LINK = "https://login.example/dialog?client_id=i&state=abc"
REFUSAL = "Upstox refuses the app's credentials. Compare UPSTOX_CLIENT_ID with the app's page."


def on_friday(clock: str) -> datetime:
    """Return an hour of the Friday, IST."""
    return ist(f"{FRIDAY} {clock}")


def asked(at: datetime = OPENS - timedelta(hours=1), **changes) -> ApprovalAsked:
    """Return the event of a request for approval."""
    fields = dict(stage=Stage.ASK, session_opens=OPENS, expires_at=CUT, login_url=LINK)
    return ApprovalAsked(at, **{**fields, **changes})


def needed(stage: Stage, at: datetime, **changes) -> PersonNeeded:
    """Return the event of a stage that is told when it is due."""
    fields = dict(due_at=at, session_opens=OPENS, login_url=LINK)
    return PersonNeeded(at, stage, **{**fields, **changes})


def alarm(at: datetime = OPENS, **changes) -> PersonNeeded:
    """Return the event of the session that opens without a token."""
    return needed(Stage.ALARM, at, **changes)


def stored(at: datetime, way: Way = Way.BROWSER_LOGIN, fingerprint: str = "f1") -> TokenStored:
    """Return the event of a new token."""
    return TokenStored(at, way, CUT, fingerprint, "SIM001")


def refused(at: datetime, sentence: str = REFUSAL) -> AppRefused:
    """Return the event of an app that the broker refuses."""
    return AppRefused(at, sentence)


def died(at: datetime, fingerprint: str = "f1") -> TokenDied:
    """Return the event of an early death."""
    return TokenDied(at, fingerprint)


_FINGERPRINTS = [f"f{number}" for number in range(9)]
_HOURS = [time(7 + number // 2, number % 2 * 30) for number in range(18)]


@st.composite
def tellings(draw, *, without: type[Event] | None = None, days: int = 1) -> list[Event]:
    """Draw what happens from the Friday's midnight on, in order, repetitions included."""
    found: list[Event] = []
    spread = st.integers(0, days * 86_400 - 1)
    for seconds in sorted(draw(st.lists(spread, max_size=40))):
        at = MIDNIGHT + timedelta(seconds=seconds)
        due = datetime.combine(at.date(), draw(st.sampled_from(_HOURS)), IST)
        fingerprint = draw(st.sampled_from(_FINGERPRINTS))
        events = [
            asked(at),
            needed(draw(st.sampled_from(Stage)), at, due_at=due),
            stored(at, draw(st.sampled_from(Way)), fingerprint),
            refused(at),
            died(at, fingerprint),
        ]
        found.append(draw(st.sampled_from([e for e in events if type(e) is not without])))
    return found
