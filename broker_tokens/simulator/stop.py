"""Waiting for SIGINT or SIGTERM, without doing anything inside a signal handler."""

import select
import signal
import socket
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

Handler = Callable[[int, FrameType | None], Any] | int | None

# SIGBREAK is what Windows sends on Ctrl-Break and to a console process that it ends.
STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
]


class StopSignal:
    """Catch the signals that end a program while inside; main thread only.

    The interpreter writes each signal's number to a socket, and `wait` selects on it: that works on
    Windows too, and takes no lock that the interrupted code might hold.
    """

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._old: dict[int, Handler] = {
            number: signal.signal(number, _do_nothing) for number in STOP_SIGNALS
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._old.items():
            # None: the handler was not set from Python and cannot be given back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._old_fd)
        self._reader.close()
        self._writer.close()

    def wait(self) -> None:
        """Return once one of the signals has come; other signals are read past."""
        while True:
            select.select([self._reader], [], [])
            if set(self._reader.recv(64)) & set(STOP_SIGNALS):
                return


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Keep the default action away: ending the process, or raising KeyboardInterrupt anywhere."""
