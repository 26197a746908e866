"""`upstox-token doctor`: all that can be wrong, in lines that may be pasted into an issue."""

import argparse
import json
from collections.abc import Sequence

from broker_tokens.cli.output import answer
from broker_tokens.doctor.finding import Finding, Level, worst_exit_code

FORMAT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `upstox-token doctor`."""
    parser.add_argument("--json", action="store_true", help="for programs (format 1)")
    parser.add_argument("--offline", action="store_true", help="ask nobody outside this machine")


def run(options: argparse.Namespace) -> int:
    """Make every check and show what was found."""
    from broker_tokens.doctor.examination import examine
    from broker_tokens.doctor.surroundings import Surroundings

    report = examine(Surroundings(is_offline=options.offline), options.env_file)
    show = _as_json if options.json else _as_text
    answer(show(report.findings, report.outlook))
    return worst_exit_code(report.findings)


def run_without_packages(arguments: Sequence[str]) -> int:
    """Show what can be found out by a Python that lacks the packages of the rest."""
    from broker_tokens.doctor.machine import check_python

    found = list(check_python())
    show = _as_json if "--json" in arguments else _as_text
    answer(show(found, "Nothing more can be found out without the packages."))
    return worst_exit_code(found)


def _as_text(findings: Sequence[Finding], outlook: str) -> str:
    counts = ", ".join(f"{number} {level}" for level, number in _counts(findings).items())
    return "\n".join([*(each.as_text() for each in findings), "", f"{counts}. {outlook}"])


def _as_json(findings: Sequence[Finding], outlook: str) -> str:
    return json.dumps(
        {
            "format": FORMAT,
            "findings": [
                {
                    "level": each.level.value,
                    "topic": each.topic,
                    "words": each.words,
                    "remedy": each.remedy,
                }
                for each in findings
            ],
            "counts": _counts(findings),
            "outlook": outlook,
        },
        indent=2,
    )


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    return {level.value: sum(each.level is level for each in findings) for level in Level}
