"""The hours of a trading day at which the person is spoken to."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from broker_tokens.clock import IST, ist_date
from broker_tokens.model import Session, Stage

# Reminders before the session opens, and their pace while it is open without a token.
REMINDERS_BEFORE = (timedelta(minutes=30), timedelta(minutes=15), timedelta(minutes=5))
REMINDER_PACE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class DayStage:
    """An hour of a trading day at which the person is spoken to if its session is not covered.

    `due_at` is its name in the state.
    """

    stage: Stage
    due_at: datetime
    session: Session


def stages_of(session: Session, approval_time: time) -> list[DayStage]:
    """Return the day's stages in order: ask, remind thrice, alarm, remind while it is open.

    Of two at the same time (asked only once the session is open) the one that asks for more counts.
    """
    asked_at = datetime.combine(ist_date(session.opens), approval_time, IST)
    reminders = [session.opens - lead for lead in REMINDERS_BEFORE]
    reminders = [at for at in reminders if at > asked_at]
    at = session.opens + REMINDER_PACE
    while at < session.closes:
        reminders.append(at)
        at += REMINDER_PACE
    stages = dict.fromkeys(reminders, Stage.REMIND)
    stages |= {asked_at: Stage.ASK}
    stages |= {session.opens: Stage.ALARM}
    return [DayStage(stage, at, session) for at, stage in sorted(stages.items())]
