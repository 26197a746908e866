"""All checks in order; whatever becomes of one, the next is made."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from broker_tokens.doctor import (
    addresses,
    configuration,
    env_file,
    git,
    machine,
    network,
    stored_token,
    upkeep,
)
from broker_tokens.doctor.case import Case, open_case
from broker_tokens.doctor.finding import Finding, Level, fail, failed
from broker_tokens.doctor.outlook import outlook
from broker_tokens.doctor.surroundings import Surroundings
from broker_tokens.errors import EXIT_DEFECT, TokenError
from broker_tokens.secrets import redact

log = logging.getLogger(__name__)

CHECKS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    *(env_file.check_file, env_file.check_lines, env_file.check_writable, env_file.check_disk),
    git.check_git,
    *(configuration.check_settings, configuration.check_credentials),
    configuration.check_environment,
    *(addresses.check_redirect, addresses.check_port, addresses.check_notifier),
    *(network.check_proxy, network.check_broker, network.check_clock),
    *(stored_token.check_token, stored_token.check_static_ip),
    *(upkeep.check_renewal, upkeep.check_service, upkeep.check_notices, upkeep.check_failures),
)


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found, and one sentence on the next session; no secret is in it."""

    findings: tuple[Finding, ...]
    outlook: str

    def count(self, level: Level) -> int:
        """Return how many findings are of a level."""
        return sum(each.level is level for each in self.findings)


def examine(surroundings: Surroundings, env_file: str | None) -> Report:
    """Make every check of the `.env` that `env_file` names, else of the nearest one."""
    now, environ = surroundings.clock(), surroundings.environ
    found = [*guarded("python", machine.check_python())]
    found += guarded("zone", machine.check_zone(now, environ))
    case = open_case(surroundings, env_file)
    for check in CHECKS:
        found += guarded(check.__name__.removeprefix("check_"), check(case))
    clean = tuple(_clean(each, case) for each in found)
    return Report(clean, redact(outlook(case, clean), *case.held))


def guarded(topic: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Pass on what a check finds; what ends it early is a finding, too."""
    try:
        yield from findings
    except TokenError as error:
        yield failed(topic, error)
    except ModuleNotFoundError as error:
        yield fail(topic, f"not checked: the package {error.name} is not installed", "See above.")
    except OSError as error:
        yield fail(topic, f"not checked: {error.strerror}", "Mend that first.")
    except Exception as error:
        log.debug("The defect in full:", exc_info=True)
        what = f"a defect of this program ends the check: {type(error).__name__}"
        yield fail(topic, what, "Please report it with this line.", EXIT_DEFECT)


def _clean(finding: Finding, case: Case) -> Finding:
    """Take out every secret that a message, of this machine or of the broker, may have brought."""
    words, remedy = (redact(text, *case.held) for text in (finding.words, finding.remedy))
    return Finding(finding.level, finding.topic, words, remedy, finding.exit_code)
