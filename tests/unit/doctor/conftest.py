"""A house whose doctor is asked in this process, with whatever surroundings a test gives."""

import pytest
from support.house import running_house

from broker_tokens.attendance import Attendance
from broker_tokens.doctor.examination import examine
from broker_tokens.doctor.finding import worst_exit_code
from broker_tokens.doctor.surroundings import Ended, Surroundings


class Told:
    """What was found, by topic."""

    def __init__(self, report):
        self.findings = report.findings
        self.outlook = report.outlook
        self.code = worst_exit_code(report.findings)

    def __getitem__(self, topic):
        """The worst level of a topic, None if nothing was said of it."""
        levels = [each.level for each in self.findings if each.topic == topic]
        return max(levels, key=["ok", "warn", "fail"].index, default=None)

    def words(self, topic):
        return " ".join(each.words for each in self.findings if each.topic == topic)

    @property
    def failures(self):
        return {each.topic for each in self.findings if each.level == "fail"}


@pytest.fixture
def house(tmp_path):
    """At six nobody needs a token yet: the exit code is that of what a test is about."""
    with running_house(tmp_path, "2026-11-20 06:00") as opened:
        opened.env_file.chmod(0o600)
        yield opened


@pytest.fixture
def tell(house):
    """Examine the house, with other surroundings where a test says so."""

    def run(**others):
        defaults = dict(
            environ={},
            clock=house.clock,
            run=lambda _: Ended(None),
            has_ipv6=lambda: False,
            schedulers=lambda _: (),
            attendance=lambda _: Attendance(None, "", None),
        )
        return Told(examine(Surroundings(**(defaults | others)), str(house.env_file)))

    return run
