"""A wait that a signal, or another thread, ends at once: a socket pair and `poll`.

Not `threading.Event`: set inside a signal handler it can deadlock with the wait it ends, as its
lock is not re-entrant. `poll`, or `select` on Windows, also works under a faked clock.
"""

import selectors
import socket
import time
from contextlib import suppress
from datetime import timedelta


class Stopping(BaseException):
    """The service was told to stop while it waited for something that may be given up."""


class Waker:
    """Wakes one waiting thread; `stopping` says whether it is to end for good."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.stopping = False

    @property
    def writer(self) -> socket.socket:
        """The end that `signal.set_wakeup_fd` writes to."""
        return self._writer

    def wake(self) -> None:
        """End the present or the next wait."""
        with suppress(OSError):  # enough wake-ups wait already, or nobody waits any more
            self._writer.send(b"\0")

    def stop(self) -> None:
        """Ask for the end, and end the wait."""
        self.stopping = True
        self.wake()

    def wait(self, length: timedelta) -> bool:
        """Return True as soon as woken, or False after `length`."""
        return _wait_readable(self._reader, seconds=length.total_seconds()) and self._drain()

    def pause(self, seconds: float) -> None:
        """Sleep as `time.sleep` does, but raise Stopping as soon as asked to stop."""
        if not self.stopping and _wait_readable(self._reader, seconds=seconds):
            self._drain()
        if self.stopping:
            raise Stopping

    def wait_for(self, done: "Waker", length: timedelta) -> bool:
        """Return True as soon as `done` is woken, or False after `length`.

        Raises Stopping as soon as this waker is asked to stop.
        """
        give_up_at = time.monotonic() + length.total_seconds()
        while not self.stopping:
            if done._drain():
                return True
            left = give_up_at - time.monotonic()
            if left <= 0:
                return False
            if _wait_readable(done._reader, self._reader, seconds=left):
                self._drain()  # a signal that is not the end; its handler has left a mark
        raise Stopping

    def close(self) -> None:
        """Give the sockets back."""
        self._reader.close()
        self._writer.close()

    def _drain(self) -> bool:
        try:
            return bool(self._reader.recv(4096))
        except BlockingIOError:
            return False


# `select.select` knows no descriptor above 1023, and a strategy may hold more connections open.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


def _wait_readable(*sockets: socket.socket, seconds: float) -> bool:
    with _Selector() as selector:
        for each in sockets:
            selector.register(each, selectors.EVENT_READ)
        return bool(selector.select(max(0.0, seconds)))
