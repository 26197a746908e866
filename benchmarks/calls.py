"""What calls cost inside a running process, by pyperf: ours, the yardsticks, what others offer.

python benchmarks/calls.py -o calls.json; `run.py` puts the medians into its table.
"""

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyperf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import env_folder
import others
from dotenv import dotenv_values, load_dotenv

import upstox_token_manager


def time_after_each_change(path: Path, call: Callable[[], object]) -> Callable[[int], float]:
    """Return a timer of the first call after each replace of the file by another process."""
    versions: Iterator[str] = itertools.cycle([env_folder.text(n) for n in range(50)])

    def timer(loops: int) -> float:
        spent = 0.0
        for _ in range(loops):
            new = path.with_name("new")
            new.write_text(next(versions), encoding="utf-8")
            os.replace(new, path)
            began = time.perf_counter()
            call()
            spent += time.perf_counter() - began
        return spent

    return timer


def main() -> None:
    """Run them all."""
    runner = pyperf.Runner()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    path, changing = folder / ".env", folder / "changing.env"
    for each in (path, changing):
        env_folder.write_old(each, env_folder.text())
    name = str(path)
    manager = upstox_token_manager.UpstoxTokenManager(name, environ={})
    seer = upstox_token_manager.UpstoxTokenManager(str(changing), environ={})
    runner.bench_func("os.stat", os.stat, name)
    runner.bench_func("get_current_token", manager.get_current_token)
    runner.bench_func("module.get_current_token", upstox_token_manager.get_current_token, name)
    runner.bench_func("dotenv_values", dotenv_values, name)
    runner.bench_func("load_dotenv", lambda: load_dotenv(name, override=True) and os.environ)
    runner.bench_time_func(
        "new token: get_current_token", time_after_each_change(changing, seer.get_current_token)
    )
    runner.bench_time_func(
        "new token: dotenv_values",
        time_after_each_change(changing, lambda: dotenv_values(str(changing))),
    )
    for what, call in others.calls().items():
        runner.bench_func(what, call)


if __name__ == "__main__":
    main()
