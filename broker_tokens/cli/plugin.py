"""The status as the one line and the exit code that monitoring systems expect of a plugin.

The form is that of the Monitoring Plugins' guidelines: `SERVICE STATUS - words | performance data`.
https://www.monitoring-plugins.org/doc/guidelines.html
"""

from collections.abc import Callable

from broker_tokens.cli.status import Report
from broker_tokens.clock import format_duration, format_ist
from broker_tokens.errors import TokenError
from broker_tokens.look import Look
from broker_tokens.outlook import Level, outlook
from broker_tokens.secrets import redact

_CODES = {Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2}
_UNKNOWN = 3


def line_of(report: Report) -> tuple[str, int]:
    """Return the line, and the exit code of the outlook's level."""
    look = report.look
    ahead = outlook(look, report.attendance)
    words = f"{ahead.sentence} {_life_words(look)}"
    return f"{_head(ahead.level.upper(), words)} | {_data(report)}", _CODES[ahead.level]


def guarded(check: Callable[[], tuple[str, int]]) -> tuple[str, int]:
    """Return what `check` does; whatever keeps it from an answer is UNKNOWN, and one line too.

    A defect counts as well: its usual exit code would be read as a warning.
    """
    try:
        return check()
    except TokenError as error:
        return _head("UNKNOWN", str(error)), _UNKNOWN
    except Exception as error:  # noqa: BLE001 -- a plugin answers in one line, whatever happens
        return _head("UNKNOWN", f"A defect of this program: {type(error).__name__}."), _UNKNOWN


def _head(level: str, words: str) -> str:
    """Return the line's first part: no line break, and no `|`, which begins the data."""
    return f"UPSTOX {level} - {' '.join(redact(words).replace('|', '/').split())}"


def _life_words(look: Look) -> str:
    expires_at = look.situation.expires_at
    if expires_at is None or not look.situation.is_live(look.now):
        return "No live token is stored."
    left = format_duration(expires_at - look.now)
    return f"Token live until {format_ist(expires_at)}, in {left}."


def _data(report: Report) -> str:
    """Return the figures: `label=value[unit];warn;critical;least`, with thresholds left to us."""
    look, seen = report.look, report.attendance
    expires_at = look.situation.expires_at
    left = 0 if expires_at is None else max(0, int((expires_at - look.now).total_seconds()))
    parts = [f"expires_in={left}s;;;0;", f"failures={look.state.failures};;;0;"]
    if seen.last_look is not None:
        parts.append(f"last_look={max(0, int((look.now - seen.last_look).total_seconds()))}s;;;0;")
    return " ".join(parts)
