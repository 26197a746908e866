"""The last word of a report: whether the next session is safe."""

from collections.abc import Sequence

from broker_tokens import outlook as judgement
from broker_tokens.doctor.case import Case
from broker_tokens.doctor.finding import Finding, Level


def outlook(case: Case, findings: Sequence[Finding]) -> str:
    """Return one sentence, the same as `status` has; but what has failed comes first.

    A feed that this plan does not include endangers no token.
    """
    if any(each.level is Level.FAIL and each.topic != "feed" for each in findings):
        return "No session is safe before that is mended."
    return judgement.outlook(case.look, case.attendance).sentence
