"""`upstox-token run -- COMMAND`: a program in any language that always has the live token."""

import argparse
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from types import FrameType

from broker_tokens.cli.arguments import length
from broker_tokens.cli.child import BY_SIGNAL, Child
from broker_tokens.cli.output import error_text, say
from broker_tokens.errors import LoginRequired, TemporaryFailure
from broker_tokens.waker import Waker
from upstox_token_manager import UpstoxTokenManager

# As long as Docker gives a container; systemd gives 90 s.
_GRACE = timedelta(seconds=10)

# These ask a program to end, so the time until it is killed begins.
_ENDING = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGBREAK")
_OTHERS = ("SIGUSR1", "SIGUSR2", "SIGWINCH")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command line takes."""
    parser.usage = f"{parser.prog} [-h] [--env-file F] [--wait] [--grace 10s] -- COMMAND [ARG ...]"
    parser.epilog = (
        "The command has the token as UPSTOX_ACCESS_TOKEN and access_token, and is started again"
        " when it changes. Exit codes: the command's own; 126 and 127 if it cannot be started."
    )
    parser.add_argument(
        "--grace",
        type=length,
        default=_GRACE,
        metavar="10s",
        help="how long the command may take to end before it is killed (s, m or h)",
    )
    parser.add_argument(
        "--wait", action="store_true", help="without a token, wait for one instead of giving up"
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="program and its arguments")


def run(options: argparse.Namespace) -> int:
    """Run the command until it ends by itself or is told to; returns its exit code."""
    manager = UpstoxTokenManager(options.env_file)
    with closing(Waker()) as waker:
        supervisor = _Supervisor(options.command, manager, waker, options.grace)
        with supervisor.signals():
            return supervisor.run(waits=options.wait)


class _Supervisor:
    """Starts the command, again with each new token, and passes signals on to it."""

    def __init__(
        self, command: Sequence[str], manager: UpstoxTokenManager, waker: Waker, grace: timedelta
    ) -> None:
        self._command = command
        self._manager = manager
        self._waker = waker
        self._grace = grace
        self._child: Child | None = None
        self._ended_by = 0
        self._unsent = 0

    def run(self, *, waits: bool) -> int:
        """Return the exit code of the command's last run; raises as `get_current_token` does."""
        token = self._first_token(waits=waits)
        while token is not None:
            self._child = None
            self._child = Child(self._command, token, os.environ)
            if self._unsent:  # it came while there was nobody to pass it on to
                self._child.signal(self._unsent)
            token = self._manager.changes.wait(token, None, self._pause)
            if self._child.has_ended and not self._ended_by:
                break  # by itself, whether or not there is a new token: its work is done
            if token is not None:
                say("A new token is there: the command is started again with it.")
                self._child.signal(signal.SIGTERM)
            if token is not None or self._ended_by:
                self._see_it_end(self._child)
            if self._ended_by:
                break
        if self._child is None:
            return BY_SIGNAL + self._ended_by
        return self._child.exit_code

    def _see_it_end(self, child: Child) -> None:
        if not child.wait(self._grace, self._waker):
            say(f"It did not end within {self._grace.total_seconds():.0f} s and is killed.")
            child.kill()

    def _first_token(self, *, waits: bool) -> str | None:
        try:
            return self._manager.get_current_token()
        except (LoginRequired, TemporaryFailure) as error:
            if not waits:
                raise
            say(f"{error_text(error)}\nWaiting for a token.")
        return self._manager.changes.wait(None, None, self._pause)

    def _pause(self, seconds: float) -> bool:
        """Sleep until something happens; return whether the wait for a token is over."""
        if not self._is_over:
            self._waker.wait(timedelta(seconds=seconds))
        return self._is_over

    @property
    def _is_over(self) -> bool:
        return bool(self._ended_by) or (self._child is not None and self._child.has_ended)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Pass on what is sent to us while inside."""

        def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- its signature
            if signal.Signals(number).name in _ENDING:
                self._ended_by = number
            if self._child is not None:
                self._child.signal(number)
            elif number == self._ended_by:
                self._unsent = number

        signal.set_wakeup_fd(self._waker.writer.fileno(), warn_on_full_buffer=False)
        for name in (*_ENDING, *_OTHERS):
            number = getattr(signal, name, None)
            # What nohup has had ignored stays so, for the command too.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, pass_on)
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, lambda number, frame: None)  # noqa: ARG005 -- it only wakes
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
