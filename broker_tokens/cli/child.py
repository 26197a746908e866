"""A command and all that it starts, as one: a process group that gets signals and ends whole."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from broker_tokens import programs
from broker_tokens.errors import ConfigurationError
from broker_tokens.waker import Waker

# As shells say it: 126 is for what cannot be run, 127 for what is not there, 128 + N for signal N.
_NOT_RUNNABLE, _NOT_FOUND, BY_SIGNAL = 126, 127, 128

# No signal announces the end of what the command itself has started.
_LOOK_SECONDS = 0.2


class NoSuchCommand(ConfigurationError):
    """The command cannot be started."""

    def __init__(self, command: str, error: OSError) -> None:
        super().__init__(
            f"{command} cannot be started: {error.strerror}.",
            "Check the name; the command follows `--`: upstox-token run -- python strategy.py",
        )
        self.exit_code = _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_RUNNABLE


class Child:
    """A running command with the token in its environment.

    In a process group of its own: a shell's children hold the token as well, and of two strategies
    with two tokens one would trade on. Such a group cannot read from the terminal, so one that we
    have is not handed on: input from it ends at once instead of standing still.
    """

    def __init__(self, command: Sequence[str], token: str, environ: Mapping[str, str]) -> None:
        """Start `command`; raises NoSuchCommand."""
        is_terminal = sys.stdin is not None and sys.stdin.isatty()
        given = {"UPSTOX_ACCESS_TOKEN": token, "access_token": token}
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- the user's own command, no shell
                list(command),
                env=programs.without(environ, given) | given,
                stdin=subprocess.DEVNULL if is_terminal else None,
                **programs.HERE.in_front,
            )
        except OSError as error:
            raise NoSuchCommand(command[0], error) from None

    @property
    def has_ended(self) -> bool:
        """Whether the command itself has ended; what it started may go on."""
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int:
        """The ended command's exit code, as a shell gives it."""
        code: int = self._process.wait()
        return code if code >= 0 else BY_SIGNAL - code

    def signal(self, number: int) -> None:
        """Send a signal to the command and all that it started."""
        programs.HERE.signal(self._process, number)

    def wait(self, grace: timedelta, waker: Waker) -> bool:
        """Return whether the command, and all that it started, ends within `grace`."""
        ends_at = time.monotonic() + grace.total_seconds()
        while not (self.has_ended and self._is_alone):
            left = ends_at - time.monotonic()
            if left <= 0:
                return False
            waker.wait(timedelta(seconds=min(left, _LOOK_SECONDS)))
        return True

    def kill(self) -> None:
        """Kill whatever of it is left."""
        programs.HERE.kill(self._process)
        self._process.wait()

    @property
    def _is_alone(self) -> bool:
        return programs.HERE.is_gone(self._process)
