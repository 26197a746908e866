"""Run the proofs and print their table: `python -m proofs [--few] [--write FILE] [NAME ...]`."""

import argparse
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from proofs.catalogue import ALL, Proof

_HEAD = "| promise | tried | survived | lost | took |\n| --- | --- | --- | --- | --- |"
_PLACE = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Return 0 if every proof held, 1 if one was broken or could not be run."""
    parser = argparse.ArgumentParser(prog="python -m proofs", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(p.name for p in ALL))
    parser.add_argument("--few", action="store_true", help="the short selection of make test")
    parser.add_argument("--write", type=Path, help="put the table into this document too")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {proof.name for proof in ALL}
    if unknown:
        parser.error(f"no such proof: {', '.join(sorted(unknown))}")
    chosen = [p for p in ALL if not options.names or p.name in options.names]
    print(_HEAD, flush=True)
    rows, all_held = [_HEAD], True
    for proof in chosen:
        row, held = _run(proof, proof.few if options.few else proof.full)
        print(row, flush=True)
        rows.append(row)
        all_held = all_held and held
    if options.write:
        write_figures(options.write, f"{_circumstances()}\n\n" + "\n".join(rows))
    return 0 if all_held else 1


def _run(proof: Proof, count: int) -> tuple[str, bool]:
    missing = proof.missing()
    if missing:
        return f"| {proof.promise} | not run: needs {', '.join(missing)} | | | |", False
    began = time.monotonic()
    finding = proof.run(count)
    took = f"{time.monotonic() - began:,.0f} s"
    cells = (proof.promise, finding.tried, finding.survived, finding.lost, took)
    row = " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {row} |", not finding.broken


def _circumstances() -> str:
    """Return the commit, the date and what it ran on, as one sentence."""
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    return (
        f"`make prove` at commit {commit}, {datetime.now(UTC):%Y-%m-%d}, Python"
        f" {platform.python_version()}, Linux {platform.release().split('-')[0]}:"
    )


def write_figures(document: Path, figures: str) -> None:
    """Put the figures between their two marks in the document."""
    text = document.read_text(encoding="utf-8")
    filled = _PLACE.sub(lambda match: f"{match[1]}{figures}\n{match[2]}", text)
    document.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
