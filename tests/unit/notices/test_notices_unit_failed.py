"""What is told of a failed unit of systemd: how it ended, whether it comes back, where to look."""

import pytest

from broker_tokens.notices.words import Kind, unit_failed

UNIT = "upstox-token-refresh.service"
AGAIN = "systemd starts it again."
FINAL = "That does not get better by itself."

# How the unit ended, as systemd says it (systemd.exec(5)): words, and what comes next.
ENDS = {
    "a defect": ("exit-code", "exited", "1", "a defect of its own (exit code 1)", AGAIN),
    "wrong usage": ("exit-code", "exited", "2", "command line is wrong (exit code 2)", FINAL),
    "temporary": ("exit-code", "exited", "75", "(exit code 75)", AGAIN),
    "a person": ("exit-code", "exited", "77", "python init_tokens.py (exit code 77)", FINAL),
    "settings": ("exit-code", "exited", "78", "configuration is wrong (exit code 78)", FINAL),
    "no interpreter": ("exit-code", "exited", "203", "virtual environment", AGAIN),
    "an unknown code": ("exit-code", "exited", "99", "It failed (exit code 99)", AGAIN),
    "a hang": ("watchdog", "dumped", "ABRT", "hung", AGAIN),
    "kill -9": ("signal", "killed", "KILL", "killed (signal KILL)", AGAIN),
    "out of memory": ("oom-kill", "killed", "KILL", "memory", AGAIN),
    "too slow": ("timeout", "killed", "TERM", "in time", AGAIN),
    "something new": ("frobnicated", "", "", f"{UNIT}: It failed. ", AGAIN),
}


@pytest.mark.parametrize("prefix", ["MONITOR_", ""], ids=["OnFailure", "ExecStopPost"])
@pytest.mark.parametrize("end", ENDS)
def test_how_it_ended_is_said_in_words(end, prefix):
    """Both ways in which systemd hands on how a unit ended are understood."""
    result, code, status, words, next_ = ENDS[end]
    environ = {
        f"{prefix}SERVICE_RESULT": result,
        f"{prefix}EXIT_CODE": code,
        f"{prefix}EXIT_STATUS": status,
    }
    notice = unit_failed(UNIT, environ)

    assert notice.kind is Kind.UNIT_FAILED
    assert notice.body.startswith(f"{UNIT}: ")
    assert words in notice.body
    assert next_ in notice.body
    assert f"journalctl -u {UNIT}" in notice.body


def test_a_systemd_that_says_nothing():
    """Before version 251 OnFailure= came without a word; that it failed is told all the same."""
    assert f"{UNIT}: It failed. " in unit_failed(UNIT, {}).body


def test_an_orderly_end_is_no_news():
    """ExecStopPost= runs after `systemctl stop` too."""
    assert unit_failed(UNIT, {"SERVICE_RESULT": "success", "EXIT_STATUS": "0"}) is None


def test_a_user_unit_has_a_journal_of_its_own():
    """The command shown for a unit of `systemctl --user` is the one that shows its lines."""
    assert f"journalctl --user -u {UNIT}" in unit_failed(UNIT, {"MANAGERPID": "812"}).body


def test_each_kind_of_failure_has_its_key():
    """A crash loop is told once a day, and a hang after it is told too."""
    ends = [{"SERVICE_RESULT": "signal", "EXIT_STATUS": "KILL"}, {"SERVICE_RESULT": "watchdog"}]

    assert len({unit_failed(UNIT, end).key for end in ends}) == 2
    assert len({unit_failed(UNIT, ends[0]).key for _ in range(2)}) == 1
