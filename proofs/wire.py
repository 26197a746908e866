"""A service behind a hostile proxy, and the judge of what it makes of each reply.

Whatever comes: an error for people with no secret in it, or a token; within the deadline; the
`.env` as before or with what the reply brought; and the next good reply renews.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from support.hostile import texts_of
from support.house import House, running_house

from broker_tokens import errors
from broker_tokens.errors import TokenError
from broker_tokens.service import TokenService
from broker_tokens.simulator.broker import RefreshGrant
from broker_tokens.transport import HttpTransport
from proofs.env_files import python_dotenv
from proofs.finding import Finding

# The product's own deadline is 20 s; here it is short, so that many can be waited for.
DEADLINE = timedelta(seconds=0.5)

# What a busy machine may take to notice that the time is up.
_SLACK = 5

# Replies are cut off at 1 MiB; a decoder's buffers and Python's own reserves come on top.
_MOST_MEMORY_MIB = 64

_SECRETS = ("sim-secret", "planted-echo")


@dataclass
class Wire:
    """A service behind a proxy, and everything that must stay as it is."""

    house: House
    service: TokenService
    finding: Finding = field(default_factory=Finding)
    outcomes: Counter[str] = field(default_factory=Counter)
    most_memory: float = 0

    def __post_init__(self) -> None:
        self._good = self.house.env_file.read_bytes()

    def go_through(self, address: str) -> None:
        """Have the service reach its broker at `address` from now on."""
        old = python_dotenv(self._good)["UPSTOX_API_URL"]
        self._good = self._good.replace(old.encode(), address.encode())

    def renew(self, point: str) -> str:
        """Renew once through the fault; return what came of it, and judge it."""
        self.house.env_file.write_bytes(self._good)
        self.house.env_file.with_name(".env.state.json").unlink(missing_ok=True)
        used = _memory_mib("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak counts from here
        began = time.monotonic()
        try:
            self.service.renew()
            outcome = "renewed"
        except TokenError as error:
            kinds = (kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
            outcome = next(kinds).__name__
            self._search(error, point)
        except Exception as error:  # noqa: BLE001 -- that there is none is what is proven
            outcome = "a defect"
            self.finding.broken.append(f"{point}: {error!r}")
        if time.monotonic() - began > DEADLINE.total_seconds() + _SLACK:
            self.finding.broken.append(f"{point}: took {time.monotonic() - began:.0f} s")
        grown = _memory_mib("VmHWM") - used
        self.most_memory = max(self.most_memory, grown)
        if grown > _MOST_MEMORY_MIB:
            self.finding.broken.append(f"{point}: took {grown:.0f} MiB")
        self._compare(point)
        self.outcomes[outcome] += 1
        return outcome

    def _search(self, error: TokenError, point: str) -> None:
        tokens = [value for key, value in python_dotenv(self._good).items() if "oken" in key]
        for text in texts_of(error):
            if any(secret and secret in text for secret in (*_SECRETS, *tokens)):
                self.finding.broken.append(f"{point}: a secret in {type(error).__name__}")

    def _compare(self, point: str) -> None:
        """Everything but the tokens is as it was."""
        before, after = (
            {k: v for k, v in python_dotenv(content).items() if not _is_ours(k)}
            for content in (self._good, self.house.env_file.read_bytes())
        )
        if before != after:
            self.finding.broken.append(f"{point}: `.env` has become {after}")

    def conclude(self, what: str) -> Finding:
        """Have the last, good reply renew; then put it all into words."""
        self.service = self.house.service()
        if self.renew("the good reply at the end") != "renewed":
            self.finding.broken.append("the good reply at the end did not renew")
        words = ", ".join(f"{count:,} {outcome}" for outcome, count in self.outcomes.most_common())
        self.finding.tried = f"{self.outcomes.total():,} {what}"
        self.finding.survived = f"{words}; at most {self.most_memory:.0f} MiB for one"
        return self.finding


def _memory_mib(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {name}")


def _is_ours(key: str) -> bool:
    return "token" in key.lower() or key == "UPSTOX_USER_ID"


@contextmanager
def logged_in() -> Iterator[Wire]:
    """Give a service that has logged in at a broker which means well."""
    with (
        TemporaryDirectory() as folder,
        running_house(Path(folder), "2026-11-20 09:00", RefreshGrant.ON) as house,
    ):
        house.log_in()
        service = house.service(transport=HttpTransport(deadline=DEADLINE))
        yield Wire(house, service)
