"""The real daemon, its clock in the hands of libfaketime: through 03:30, stopped, and set back.

The broker's clock is always right, and as fast as the daemon's.
"""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from support.doors import SERVICE, TOKEN, Doors, Running, consent, open_doors
from support.house import ist

from broker_tokens.simulator.broker import RefreshGrant
from proofs.finding import Finding
from upstox_token_manager import UpstoxTokenManager

# So many seconds to one of ours; what separates the two clocks is far below a minute of theirs.
_PACE = 60

_LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"
_NEW_TOKEN = "New token, renewed silently"
_LAST_LOGIN = ist("2026-11-19 09:00")


@dataclass
class _FastClock:
    """The true time, from `begin` on, at the pace of the daemon's clock."""

    start: datetime = _LAST_LOGIN
    pace: int = 0
    _began: float = 0

    def begin(self, start: datetime) -> None:
        self.start, self.pace, self._began = start, _PACE, time.monotonic()

    def __call__(self) -> datetime:
        return self.start + timedelta(seconds=(time.monotonic() - self._began) * self.pace)


@dataclass
class _Scene:
    """A machine whose user logged in yesterday, its broker, and both clocks."""

    doors: Doors
    clock: _FastClock
    order: Path

    def set_daemon_clock(self, reading_at_start: datetime) -> None:
        """Let the daemon's clock go as if it had read this when the daemon was started."""
        self.order.write_text(f"@{reading_at_start.strftime('%Y-%m-%d %H:%M:%S')} x{_PACE}\n")

    @contextmanager
    def daemon(self, now: str, shown: str = "") -> Iterator[Running]:
        """Run the daemon from `now` on; its clock shows `shown` then, if that is not `now`."""
        self.set_daemon_clock(ist(shown or now))
        environ = {
            "LD_PRELOAD": str(libfaketime()),
            "FAKETIME_TIMESTAMP_FILE": str(self.order),
            "FAKETIME_NO_CACHE": "1",
            "TZ": "Asia/Kolkata",
        }
        self.clock.begin(ist(now))
        with self.doors.start(*SERVICE, environ=environ) as running:
            yield running
            running.stop()

    def is_covered(self) -> bool:
        """Whether the stored token lives, by the broker's books."""
        return bool(self.doors.broker.is_live(self.doors.values["access_token"]))

    @property
    def requests(self) -> int:
        """How many token requests have come since the login."""
        return int(self.doors.broker.count(TOKEN)) - 1


def libfaketime() -> Path | None:
    """Return libfaketime, if this machine has it."""
    return next(iter(Path("/").glob(_LIBRARIES.removeprefix("/"))), None)


def _through_the_cut(scene: _Scene) -> str:
    """Started at 03:18 with a missed 02:00: renewed at once, and again after 03:30."""
    with scene.daemon("2026-11-20 03:18:00") as running:
        running.wait_for(_NEW_TOKEN)
        running.wait_for(_NEW_TOKEN, "lives until Sat 21 Nov")
        return "" if scene.is_covered() and scene.requests == 2 else f"{scene.requests} requests"


def _stopped_over_the_cut(scene: _Scene) -> str:
    """Stopped before 03:30 and let go at 03:33 or later: renewed at once."""
    with scene.daemon("2026-11-20 03:18:00") as running:
        running.wait_for(_NEW_TOKEN)
        running.send(signal.SIGSTOP)
        while scene.clock() < ist("2026-11-20 03:33"):
            time.sleep(0.1)
        if scene.requests != 1:
            return "it was not stopped"
        running.send(signal.SIGCONT)
        running.wait_for(_NEW_TOKEN, "lives until Sat 21 Nov")
        late_by = scene.clock() - ist("2026-11-20 03:33")
        if late_by > timedelta(minutes=3):
            return f"renewed {late_by} after it was let go"
        return "" if scene.is_covered() and scene.requests == 2 else f"{scene.requests} requests"


def _set_back(scene: _Scene) -> str:
    """A quarter of an hour fast until after its own 03:31: the next token is of no use to it yet.

    Set right, it keeps what it has, and renews after the true 03:30.
    """
    with scene.daemon("2026-11-20 03:10:00", shown="2026-11-20 03:25:00") as running:
        running.wait_for(_NEW_TOKEN)
        running.wait_for("expired already")
        scene.set_daemon_clock(ist("2026-11-20 03:10:00"))
        if not scene.is_covered():
            return "the token of before was lost"
        running.wait_for(_NEW_TOKEN, "lives until Sat 21 Nov")
        is_after_cut = scene.clock() > ist("2026-11-20 03:30")
        return "" if scene.is_covered() and is_after_cut else "too early"


_STORIES: dict[str, Callable[[_Scene], str]] = {
    "through 03:30": _through_the_cut,
    "stopped over 03:30": _stopped_over_the_cut,
    "fast over 03:30, then set back": _set_back,
}


def _tell(story: Callable[[_Scene], str]) -> str:
    """Return what went wrong in a story, or an empty text."""
    try:
        with _scene() as scene:
            return story(scene)
    except AssertionError as error:
        return str(error)


def real_process(count: int) -> Finding:
    """Tell each story `count` times."""
    finding = Finding()
    with ThreadPoolExecutor() as pool:
        for number in range(count):
            troubles = pool.map(_tell, _STORIES.values())
            for name, trouble in zip(_STORIES, troubles, strict=True):
                if trouble:
                    finding.broken.append(f"{name}, {number}: {trouble}")
    finding.tried = f"{count * len(_STORIES)} daemons: {', '.join(_STORIES)}"
    finding.survived = "each had a live token as soon as the broker's day allowed it"
    return finding


@contextmanager
def _scene() -> Iterator[_Scene]:
    clock = _FastClock()
    with (
        TemporaryDirectory() as folder,
        open_doors(Path(folder), RefreshGrant.ROTATING, clock=clock) as doors,
    ):
        manager = UpstoxTokenManager(doors.env_file, environ={}, clock=clock)
        manager.get_access_token_from_code(consent(manager.get_authorization_url("s")))
        yield _Scene(doors, clock, Path(folder, "order"))
