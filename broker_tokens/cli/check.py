"""`upstox-token check`: asks the broker, not the clock, what the stored token is good for."""

import argparse

from broker_tokens.app import build_service
from broker_tokens.attendance import attendance
from broker_tokens.cli.output import answer
from broker_tokens.doctor.finding import Finding, Level, worst_exit_code
from broker_tokens.doctor.questions import ask
from broker_tokens.env_path import locate
from broker_tokens.errors import EXIT_OK
from broker_tokens.secrets import redact

# What only a broker that takes the token can have said.
_ANSWERED = ("price", "account")


def run(options: argparse.Namespace) -> int:
    """Ask three questions, and answer each in a line; a refusal of the token is remembered."""
    env_path = locate(options.env_file)
    service = build_service(env_path, is_listening=bool(attendance(env_path).listens_at))
    look = service.look()
    token = look.tokens.access_token
    if token is None:
        raise look.no_token()
    found = list(ask(look, token, service.confirm))
    answer(_verdict(found))
    for finding in found:
        answer(redact(finding.as_text()))
    return worst_exit_code(found)


def _verdict(found: list[Finding]) -> str:
    if worst_exit_code(found) == EXIT_OK:
        return "Token is valid and working!"
    if any(each.topic in _ANSWERED and each.level is not Level.FAIL for each in found):
        return "The token is alive, but not everything works."
    return "Whether the token works could not be found out."
