"""The language of the plan's tables: a row is a situation at a time, and what is due then."""

from datetime import datetime

from support.house import ist

from broker_tokens.model import Approval
from broker_tokens.policy import (
    AskApproval,
    FindOut,
    Life,
    RenewSilently,
    Rules,
    Situation,
    TellPerson,
    Wait,
)


def hour(**fields) -> dict:
    """Return one row of the table; its fields are read, all of them, by `read`."""
    return fields


def read_approval(case: dict) -> Approval | None:
    """Return the request that a row tells of: `asked`, and what became of it."""
    asked, again = case.pop("asked", None), case.pop("again", None)
    refusal = case.pop("refused", "")
    if asked is None:
        return None
    return Approval(ist(asked), refusal=refusal, retry_at=again and ist(again))


def read(case: dict) -> tuple[datetime, Situation, Rules, str]:
    """Return time, situation, rules and what is expected; a field that nobody reads fails."""
    case = dict(case)
    case.pop("case")
    now, token = ist(case.pop("now")), case.pop("token", None)
    when = {key: case.pop(key, None) for key in ("renewed", "retry", "told")}
    when = {key: value and ist(value) for key, value in when.items()}
    known = token not in (None, "unknown")
    situation = Situation(
        life=Life.KNOWN if known else Life.UNKNOWN if token else Life.NONE,
        expires_at=ist(token) if known else None,
        is_silent=case.pop("silent", False),
        renewed_at=when["renewed"],
        failures=case.pop("failures", 0),
        retry_at=when["retry"],
        told=when["told"],
        can_ask_phone=case.pop("phone", False),
        approval=read_approval(case),
    )
    rules, due = case.pop("rules", Rules()), case.pop("due")
    assert not case, f"fields that nobody reads: {case}"
    return now, situation, rules, due


def in_words(decision) -> str:
    """Write a decision as the tables have it."""
    match decision:
        case Wait(until):
            return f"wait until {until.replace(tzinfo=None)}".removesuffix(":00")
        case FindOut():
            return "find out"
        case RenewSilently():
            return "renew"
        case AskApproval(stage, due_at):
            return f"phone, {stage} of {due_at:%Y-%m-%d %H:%M}"
        case TellPerson(stage, due_at):
            return f"{stage} of {due_at:%Y-%m-%d %H:%M}"
