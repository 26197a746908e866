"""Measure what a strategy and a service feel; prints a table of medians, asserts nothing.

Each figure stands beside a yardstick measured in the same run, because machines differ.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dotenv import dotenv_values  # noqa: E402 -- the project's folder comes first

from broker_tokens.expiry import next_cut  # noqa: E402
from broker_tokens.simulator.minting import Mint  # noqa: E402
from upstox_token_manager import UpstoxTokenManager  # noqa: E402

_ROUNDS = 9
_PROCESSES = 7


def median_ns(call: Callable[[], object], times: int) -> float:
    """Return the median time of one call, over several rounds of `times` calls."""
    rounds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter_ns()
        for _ in range(times):
            call()
        rounds.append((time.perf_counter_ns() - started) / times)
    return statistics.median(rounds)


def process_ms(code: str, folder: Path) -> float:
    """Return the median wall time of a fresh interpreter that runs `code`."""
    rounds = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(_PROCESSES):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)
        rounds.append((time.perf_counter() - started) * 1_000)
    return statistics.median(rounds)


def row(what: str, figure: float, yardstick: str, other: float, unit: str) -> None:
    """Print one line of the table."""
    ratio = f"{figure / other:.2f} x {yardstick} ({other:.2f} {unit})"
    print(f"{what:44} {figure:10.2f} {unit}   {ratio}")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env_file = folder / ".env"
        env_file.write_text(_env_text(), encoding="utf-8")
        manager = UpstoxTokenManager(env_file, environ={})
        manager.get_current_token()
        stat = median_ns(lambda: os.stat(env_file), 20_000) / 1_000
        warm = median_ns(manager.get_current_token, 20_000) / 1_000
        parse = median_ns(lambda: dotenv_values(env_file), 200) / 1_000
        print(f"Python {sys.version.split()[0]}, {sys.platform}, medians\n")
        row("get_current_token(), warm", warm, "os.stat", stat, "us")
        row("the same, beside dotenv_values each time", warm, "dotenv_values", parse, "us")
        bare = process_ms("pass", folder)
        for module in ("upstox_token_manager", "requests"):
            row(f"import {module}", process_ms(f"import {module}", folder), "bare", bare, "ms")
        first = "from upstox_token_manager import get_current_token as g; g()"
        row("import and first get_current_token()", process_ms(first, folder), "bare", bare, "ms")


def _env_text() -> str:
    now = datetime.now(UTC)
    token = Mint().access_token("AB1234", now, next_cut(now))
    return f"UPSTOX_CLIENT_ID=a\nUPSTOX_CLIENT_SECRET=b\naccess_token={token}\n"


if __name__ == "__main__":
    main()
