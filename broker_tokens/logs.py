"""Where log lines go: the journal under systemd, else a private rotated file and the terminal."""

import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import TextIO

from broker_tokens.clock import IST
from broker_tokens.secrets import redact

LOG_FILE = "upstox_token_refresh.log"

# A quiet month is about 100 KB; five old files keep a year of bad days.
_LARGEST_LOG = 1_000_000
_OLD_LOGS = 5

_LINE = "%(asctime)s %(levelname)s %(message)s"
_JOURNAL_LINE = "%(levelname)s %(message)s"  # the journal adds the time itself


class _IstFormatter(logging.Formatter):
    """Times in IST, whatever the host's zone, and every secret of the process redacted."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802, ARG002 -- logging's name
        return (
            datetime.fromtimestamp(record.created, UTC)
            .astimezone(IST)
            .strftime("%Y-%m-%d %H:%M:%S IST")
        )

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _TerminalHandler(logging.StreamHandler[TextIO]):
    """Standard error; one that has gone away stops nothing."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Say nothing: there is nowhere left to say it."""


class _PrivateFileHandler(RotatingFileHandler):
    """A rotating log file that is 0600 at birth; a full disk costs its lines and no more."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Say nothing: the terminal has the same line, and logging would add a traceback."""

    def doRollover(self) -> None:  # noqa: N802 -- logging's name
        """Begin a new file; one that another process has open on Windows is written on.

        It is moved first: of the old files none gives way to one that then cannot be moved.
        """
        if self.stream:
            self.stream.close()
            self.stream = None
        aside = f"{self.baseFilename}.0"
        try:
            os.replace(self.baseFilename, aside)
        except OSError:
            self.maxBytes += _LARGEST_LOG  # not at every line again
            self.stream = self._open()
            return
        self.maxBytes = _LARGEST_LOG
        super().doRollover()
        with suppress(OSError):
            os.replace(aside, f"{self.baseFilename}.1")

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return open(descriptor, "a", encoding="utf-8", errors="backslashreplace")


def set_up(
    log_file: str, *, verbose: bool, quiet: bool, environ: Mapping[str, str] = os.environ
) -> None:
    """Send our log lines to their places; other libraries' logging stays as it is.

    `quiet` keeps the terminal free for the one sentence of how it ended (cron mails what is there).
    """
    logger = logging.getLogger("broker_tokens")
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    journal = is_journal(environ)
    if sys.stderr is not None and (journal or verbose or not quiet):  # pythonw.exe has none
        terminal = _TerminalHandler(sys.stderr)
        terminal.setFormatter(_IstFormatter(_JOURNAL_LINE if journal else _LINE))
        logger.addHandler(terminal)
    if not journal:
        _add_file(logger, log_file)


def _add_file(logger: logging.Logger, log_file: str) -> None:
    try:
        file = _PrivateFileHandler(log_file, maxBytes=_LARGEST_LOG, backupCount=_OLD_LOGS)
    except OSError as error:
        logger.warning("The log file %s cannot be written (%s).", log_file, error.strerror)
        return
    file.setFormatter(_IstFormatter(_LINE))
    logger.addHandler(file)


def is_journal(environ: Mapping[str, str]) -> bool:
    """Whether standard error goes to the systemd journal (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
