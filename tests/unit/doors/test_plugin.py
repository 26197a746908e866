"""`upstox-token status --check`: one line and an exit code, as monitoring systems want them."""

import re
from datetime import timedelta

import pytest
from support.house import ist
from unit.plan.looks import OPAQUE, look_at

from broker_tokens.attendance import Attendance
from broker_tokens.cli import plugin
from broker_tokens.cli.status import Report
from broker_tokens.errors import ConfigurationError
from broker_tokens.model import State

# https://www.monitoring-plugins.org/doc/guidelines.html#AEN197
FIGURE = r"'?[^'= ]+'?=-?[0-9.]+(?:s|us|ms|%|B|c)?(?:;[^; ]*){0,4}"
LINE = re.compile(rf"UPSTOX (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+(?: \| {FIGURE}(?: {FIGURE})*)?")

EVENING = ist("2026-11-19 20:18")
END = ist("2026-11-20 03:30")
WATCHED = Attendance(4711, "", EVENING - timedelta(seconds=20))
NOBODY = Attendance(None, "", None)


def test_a_line_in_full():
    """Level, session, life and figures, in the plugins' form."""
    line, code = plugin.line_of(Report(look_at(EVENING, expires_at=END), WATCHED))

    assert code == 0
    assert line == (
        "UPSTOX OK - Session of Fri 20 Nov 2026 09:00 IST: needs you at 08:00 IST: a login; only"
        " the log will say so, as no channel for notices is set. Token live until Fri 20 Nov 2026"
        " 03:30 IST, in 7 h 12 min. | expires_in=25920s;;;0; failures=0;;;0; last_look=20s;;;0;"
    )
    assert LINE.fullmatch(line)


@pytest.mark.parametrize(
    ("now", "seen", "code"),
    [
        (EVENING, WATCHED, 0),
        (EVENING, NOBODY, 1),
        (ist("2026-11-20 08:00"), Attendance(1, "", ist("2026-11-20 08:00")), 1),
        (ist("2026-11-20 09:00"), Attendance(1, "", ist("2026-11-20 09:00")), 2),
        (ist("2026-11-20 09:00"), NOBODY, 2),
    ],
)
def test_the_exit_code_is_the_level(now, seen, code):
    """0 OK, 1 WARNING, 2 CRITICAL, whatever the plain status exits with."""
    line, shown = plugin.line_of(Report(look_at(now, expires_at=END), seen))

    assert shown == code
    assert line.startswith(f"UPSTOX {('OK', 'WARNING', 'CRITICAL')[code]} - ")
    assert LINE.fullmatch(line)


def test_an_answer_that_cannot_be_had_is_unknown():
    """A wrong setting is one line too, whatever its own text holds."""

    def fail():
        raise ConfigurationError("First line.\nSecond | line.", "Advice.")

    line, code = plugin.guarded(fail)

    assert (line, code) == ("UPSTOX UNKNOWN - First line. Second / line. Advice.", 3)
    assert LINE.fullmatch(line)


def test_a_defect_is_unknown():
    """Our own defect must not look like a warning; what it says is not repeated."""

    def fail():
        raise KeyError("planted")

    line, code = plugin.guarded(fail)

    assert code == 3
    assert LINE.fullmatch(line)
    assert "planted" not in line


def test_a_token_that_has_died_lives_for_no_time():
    """Figures are never negative, and a dead token is none."""
    look = look_at(ist("2026-11-21 12:00"), expires_at=END, state=State(failures=3))
    line, _ = plugin.line_of(Report(look, Attendance(None, "", ist("2026-11-22 12:00"))))

    assert "No live token is stored." in line
    assert line.endswith("| expires_in=0s;;;0; failures=3;;;0; last_look=0s;;;0;")
    assert OPAQUE.fingerprint not in line
