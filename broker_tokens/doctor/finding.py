"""What a check found: a level, a topic, words, and a remedy where one is needed."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from broker_tokens.errors import (
    EXIT_CONFIGURATION,
    EXIT_DEFECT,
    EXIT_OK,
    EXIT_PERSON,
    EXIT_TEMPORARY,
    TokenError,
)

# The worst first: while the configuration is wrong nothing else can be mended, and what only a
# person can mend is not mended by another try.
_WORST = (EXIT_CONFIGURATION, EXIT_PERSON, EXIT_TEMPORARY, EXIT_DEFECT)


class Level(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report; `exit_code` is what it alone would end the command with."""

    level: Level
    topic: str
    words: str
    remedy: str = ""
    exit_code: int = EXIT_OK

    def as_text(self) -> str:
        """Return it for people: the line, and its remedy under it."""
        line = f"{self.level:<4}  {self.topic}: {self.words}"
        return f"{line}\n      -> {self.remedy}" if self.remedy else line


def ok(topic: str, words: str) -> Finding:
    """Return a finding of something that is in order."""
    return Finding(Level.OK, topic, words)


def warn(topic: str, words: str, remedy: str = "") -> Finding:
    """Return a finding of something that works, and may not for ever."""
    return Finding(Level.WARN, topic, words, remedy)


def fail(topic: str, words: str, remedy: str, exit_code: int = EXIT_CONFIGURATION) -> Finding:
    """Return a finding of something that does not work."""
    return Finding(Level.FAIL, topic, words, remedy, exit_code)


def failed(topic: str, error: TokenError) -> Finding:
    """Return the finding that an error stands for."""
    return fail(topic, error.cause, error.advice, error.exit_code)


def worst_exit_code(findings: Iterable[Finding]) -> int:
    """Return the exit code of the worst finding, 0 if none has failed."""
    found = {each.exit_code for each in findings}
    return next((code for code in _WORST if code in found), EXIT_OK)
