"""`make bench`: measure what strategies and services feel, against yardsticks of the same run.

Prints one table, and writes it to docs/performance.md. Asserts nothing: machines differ.
"""

import argparse
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pyperf

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import env_folder  # noqa: E402 -- the project's folders come first
import processes  # noqa: E402

from proofs.crowd import plain_crowds  # noqa: E402

_PLACE = re.compile(r"(<!-- table -->\n).*?(<!-- end of table -->)", re.DOTALL)
_PACKAGES = (
    *("requests", "python-dotenv", "schedule", "python-dateutil"),
    *("google-auth", "botocore", "msal", "schwabdev", "upstox-totp", "upstox-python-sdk"),
)


@dataclass(frozen=True)
class Row:
    """One figure beside its yardstick; `goal` is the most that the ratio should be.

    `most_over` is the most that it should be above the yardstick, in the same unit.
    """

    what: str
    figure: float
    unit: str
    yardstick: str
    other: float
    goal: float | None = None
    most_over: float | None = None

    def __str__(self) -> str:
        ratio = self.figure / self.other
        verdict = ""
        if self.goal is not None:
            verdict = f"{self.goal:g} x: {'held' if ratio <= self.goal else 'missed'}"
        if self.most_over is not None:
            is_held = self.figure - self.other <= self.most_over
            verdict = f"{self.most_over:g} {self.unit} over: {'held' if is_held else 'missed'}"
        return (
            f"| {self.what} | {_number(self.figure)} {self.unit} |"
            f" {self.yardstick} ({_number(self.other)} {self.unit}) | {ratio:.2f} x | {verdict} |"
        )


def rows(idle_seconds: float) -> Iterator[Row]:
    """Measure, and yield the table's lines as they come."""
    yield from _calls()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env_folder.write_old(folder / ".env", env_folder.text())
        yield from _first_calls(folder)
        yield from _imports(folder)
    yield from _service(idle_seconds)
    ours, bare = processes.reply_to_durable_ms()
    yield Row("reply received to `.env` durable", ours, "ms", "one fsynced replace", bare, 1.5)


def _calls() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        found = Path(name, "calls.json")
        script = Path(__file__).with_name("calls.py")
        command = [sys.executable, str(script), "--quiet", "--fast", "-o", str(found)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        suite = pyperf.BenchmarkSuite.load(str(found))
    us = {each.get_name(): each.median() * 1e6 for each in suite}
    stat, parse = us["os.stat"], us["dotenv_values"]
    yield Row(
        "`manager.get_current_token()`, warm", us["get_current_token"], "us", "os.stat", stat, 1.4
    )
    yield Row(
        "`get_current_token(path)`, warm",
        us["module.get_current_token"],
        "us",
        "os.stat",
        stat,
        1.4,
    )
    yield Row(
        "another process's new token, seen",
        us["new token: get_current_token"],
        "us",
        "dotenv_values",
        us["new token: dotenv_values"],
        1.5,
    )
    yield Row("instead: `load_dotenv` each time", us["load_dotenv"], "us", "os.stat", stat)
    yield Row("instead: `dotenv_values` each time", parse, "us", "os.stat", stat)
    for what, spent in us.items():
        if ":" in what and not what.startswith("new token"):
            yield Row(f"instead: {what}", spent, "us", "os.stat", stat)


def _first_calls(folder: Path) -> Iterator[Row]:
    ours, parse = "ours", "dotenv_values"
    us = processes.first_call_us(
        {
            ours: ("import upstox_token_manager as m", "m.get_current_token()"),
            parse: ("from dotenv import dotenv_values as d", "d('.env')"),
        },
        folder,
    )
    yield Row("first `get_current_token()` in a process", us[ours], "us", parse, us[parse], 1.5)


def _imports(folder: Path) -> Iterator[Row]:
    modules = [
        *("upstox_token_manager", "requests", "dotenv", "google.oauth2.credentials"),
        *("botocore.credentials", "msal", "schwabdev", "upstox_totp", "upstox_client"),
    ]
    there = [module for module in modules if _can_import(module, folder)]
    commands = {module: ("-c", f"import {module}") for module in there}
    ms = processes.wall_ms({"bare": ("-c", "pass"), **commands}, folder)
    mb = {name: processes.rss_mb(f"import {name}", folder) for name in there}
    bare_mb = processes.rss_mb("pass", folder)
    over_ms = {name: processes.median_over(ms[name], ms["bare"]) for name in there}
    over_mb = {name: mb[name] - bare_mb for name in there}
    for unit, over in (("ms", over_ms), ("MB", over_mb)):
        for name in there:
            if name != "requests":
                is_ours = name == "upstox_token_manager"
                yield Row(
                    f"{'' if is_ours else 'instead: '}`import {name}`, over a bare interpreter",
                    over[name],
                    unit,
                    "import requests",
                    over["requests"],
                    0.05 if is_ours else None,
                )


def _can_import(module: str, folder: Path) -> bool:
    try:
        processes.python("-c", f"import {module}", folder=folder)
    except subprocess.CalledProcessError:
        return False
    return True


def _service(idle_seconds: float) -> Iterator[Row]:
    with processes.idle_folder() as folder:
        once = {"once": (processes.SERVICE, "--once"), "requests": ("-c", "import requests")}
        ms = processes.wall_ms(once, folder)
        once_ms, requests_ms = median(ms["once"]), median(ms["requests"])
        yield Row("`--once`, nothing due", once_ms, "ms", "`import requests`", requests_ms, 0.7)
        bare_mb, _ = processes.idle(("-c", processes.BARE), folder, 1)
        idle_mb, wakeups = processes.idle((processes.SERVICE,), folder, idle_seconds)
        yield Row(
            "the idle daemon, before a renewal", idle_mb, "MB", "bare interpreter", bare_mb, 1.6
        )
        _, loop = processes.idle(("-c", processes.MANUAL_LOOP), folder, idle_seconds)
        yield Row(
            "its wake-ups a minute", wakeups, "", "the loop of `schedule`'s manual", loop, 1 / 50
        )
        ours = processes.exit_ms((processes.SERVICE,), folder)
        bare = processes.exit_ms(("-c", processes.BARE_EXIT), folder)
        yield Row("SIGTERM to exit, idle", ours, "ms", "bare interpreter", bare, most_over=50)
    with processes.idle_folder(is_dead=True) as folder:
        renewed_mb, _ = processes.idle((processes.SERVICE,), folder, 20)
        yield Row(
            "the idle daemon, after a renewal", renewed_mb, "MB", "bare interpreter", bare_mb, 3.0
        )


def _number(figure: float) -> str:
    """Return a figure with about three digits that count."""
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def _circumstances() -> str:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (
        f"`make bench` at commit {commit}, {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores,"
        f" Linux {platform.release().split('-')[0]}, Python {platform.python_version()},\n"
        f"{', '.join(versions)}."
    )


def main() -> None:
    """Print the table, and write it into the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=float, default=180, help="seconds to watch an idle daemon")
    parser.add_argument("--write", type=Path, help="document to put the table into")
    options = parser.parse_args()
    lines = ["| what | ours | yardstick | ratio | goal |", "| --- | --- | --- | --- | --- |"]
    print(*lines, sep="\n")
    for row in rows(options.idle):
        print(row, flush=True)
        lines.append(str(row))
    crowd = plain_crowds(1)
    lines.append(f"| 100 processes of 8 threads at expiry | {crowd.survived} | | | exactly 1 |")
    print(lines[-1])
    if options.write:
        table = f"{_circumstances()}\n\n" + "\n".join(lines)
        text = options.write.read_text(encoding="utf-8")
        filled = _PLACE.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)
        options.write.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    main()
