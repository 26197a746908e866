"""systemd as the supervisor of this process: told by datagrams how the service is (sd_notify(3)).

By hand, as it is one line to a socket. Nothing that goes wrong with it disturbs the service, and
where no supervisor waits, nothing is sent.
"""

import os
import socket
import sys
from collections.abc import Mapping
from datetime import timedelta

from broker_tokens.secrets import redact

# What systemd tells its own child alone. A command that has them could speak in the service's name.
VARIABLES = frozenset(
    {
        *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"),
        *("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"),
    }
)

# A supervisor that is busy takes a datagram a little later; more than this it may not cost.
_PATIENCE_SECONDS = 1.0

# `systemctl status` shows one line.
_LONGEST_STATUS = 500

# Thirty years in microseconds; what is longer is no time to be killed after.
_MOST_DIGITS = 15


class Supervisor:
    """Whoever started this process and wants to know how it is; nobody, on most machines."""

    def __init__(self, environ: Mapping[str, str], pid: int | None = None) -> None:
        """Find the supervisor in `environ`; `pid` is this process's."""
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._limit = _watchdog_limit(environ, os.getpid() if pid is None else pid)
        self._is_ready = False
        self._status = ""

    def longest_wait(self, usual: timedelta) -> timedelta:
        """Return how long the loop may wait between two beats: half of what the watchdog allows."""
        return usual if self._limit is None else min(usual, self._limit / 2)

    def after_beat(self, words: str) -> None:
        """Tell that the loop has come round, and in words how things stand."""
        status = " ".join(redact(words).split())[:_LONGEST_STATUS]
        lines = [
            "" if self._is_ready else "READY=1",
            "" if status == self._status else f"STATUS={status}",
            "" if self._limit is None else "WATCHDOG=1",
        ]
        if self._send(*filter(None, lines)):
            self._is_ready, self._status = True, status

    def stopping(self) -> None:
        """Tell that the loop is over, so that the end is none of a crash."""
        self._send("STOPPING=1", "STATUS=Stopping.")

    def _send(self, *lines: str) -> bool:
        """Send one datagram; return whether it arrived."""
        if not lines or self._address is None or sys.platform == "win32":
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE_SECONDS)
                sender.connect(self._address)
                sender.sendall("\n".join(lines).encode("utf-8", "replace"))
        except (OSError, ValueError):  # ValueError: an address with a NUL in it
            return False
        return True


def _address(text: str) -> str | None:
    """Return the socket's address: a path, or `@name` for Linux's abstract name space."""
    if not hasattr(socket, "AF_UNIX") or text[:1] not in ("/", "@"):
        return None
    return "\0" + text[1:] if text[0] == "@" else text


def _watchdog_limit(environ: Mapping[str, str], pid: int) -> timedelta | None:
    """Return after how much silence this process is killed, None if never (sd_watchdog_enabled(3)).

    The variables may be those of a parent, whose pid they then name.
    """
    length, meant = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    is_number = length.isascii() and length.isdigit() and len(length) <= _MOST_DIGITS
    if not is_number or not int(length) or meant not in ("", str(pid)):
        return None
    return timedelta(microseconds=int(length))
