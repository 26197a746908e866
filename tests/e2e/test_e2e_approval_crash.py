"""kill -9 at any file operation of an approval's morning: asked once, and nothing is lost."""

import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from support.doors import LIMIT, ROOT, Running, free_port
from support.house import ist

from broker_tokens.env_text import EnvText
from broker_tokens.simulator.broker import Endpoint, SimulatedUpstox
from broker_tokens.simulator.pace import AcceleratedClock
from broker_tokens.simulator.server import SimulatorServer

SECRET = "n" * 43
START = "2026-11-20 08:00:00"


class Morning:
    """A broker whose person approves at once, and a service that may be killed."""

    def __init__(self, folder) -> None:
        self.env_file = folder / ".env"
        self.port = free_port()
        self.broker = SimulatedUpstox(
            AcceleratedClock(ist(START), 1.0),
            notifier_url=f"http://127.0.0.1:{self.port}/notifier/{SECRET}",
            on_request=self._hear,
        )
        self.approvals: list[threading.Thread] = []

    def write(self, url: str) -> None:
        """Make the `.env` of a trader whose account is known."""
        self.env_file.write_text(
            f"UPSTOX_API_URL={url}\nUPSTOX_CLIENT_ID=sim-client\nUPSTOX_CLIENT_SECRET=sim-secret\n"
            f"UPSTOX_NOTIFIER_SECRET={SECRET}\nUPSTOX_USER_ID=SIM001\naccess_token=\n",
            encoding="utf-8",
        )

    @contextmanager
    def service(self, die_at: int = 0):
        """Run the service's process."""
        command = ["-m", "support.morning", str(self.env_file), str(self.port), START, str(die_at)]
        process = subprocess.Popen(
            [sys.executable, *command],
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running = Running(process)
        try:
            yield running
        finally:
            running.wait()

    def settle_approvals(self) -> None:
        """Wait until every webhook has been sent, whoever took it."""
        for thread in self.approvals:
            thread.join(LIMIT)

    @property
    def token(self) -> str:
        """Return what strategies read."""
        return EnvText(self.env_file.read_bytes()).values["access_token"]

    def _hear(self, record) -> None:
        if record.endpoint is Endpoint.APPROVAL and record.status == 200:
            thread = threading.Thread(target=self.broker.approve)
            self.approvals.append(thread)
            thread.start()


@pytest.mark.parametrize("first", range(1, 4))
def test_killed_at_any_write_it_asks_once_and_keeps_what_it_took(tmp_path, first):
    """After the restart: no second request; a webhook that was answered has become the token."""
    survived, killed = False, 0
    for die_at in range(first, 400, 3):
        folder = tmp_path / str(die_at)
        folder.mkdir()
        morning = Morning(folder)
        with SimulatorServer(morning.broker) as server:
            morning.write(server.url)
            with morning.service(die_at) as running:
                if not survived:
                    survived = _outlives(running)
            morning.settle_approvals()
            if survived:
                break
            killed += 1
            _restart_and_check(morning)

    assert survived
    assert killed >= 8


def _outlives(running) -> bool:
    """Whether the service came to hold a live token before it died."""
    try:
        running.wait_for("idle: live")
    except AssertionError:
        return False
    return True


def _restart_and_check(morning) -> None:
    deliveries = morning.broker.deliveries
    with morning.service() as running:
        running.wait_for("idle")
        if any(each.status == 200 for each in deliveries) and "idle: live" not in running.said:
            running.wait_for("idle: live")
        said = running.said
    morning.settle_approvals()
    assert morning.broker.approval_requests <= 1
    if "idle: live" in said:
        assert morning.broker.is_live(morning.token)
    # Else it asked now, told the person that it may have been asked, or the broker's one webhook
    # met a dead service: its next word is the reminder.
    assert "idle: live" in said or "ApprovalAsked" in said or "PersonNeeded" in said or deliveries
