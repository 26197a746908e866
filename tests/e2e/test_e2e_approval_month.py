"""A month on the simulator's clock, with a person who answers at random."""

import pytest
from support.month import Month


@pytest.mark.parametrize("seed", [1, 2])
def test_every_answered_day_is_covered_and_no_closed_day_disturbed(tmp_path, seed):
    """From the answer on there is a token; one request and seven notices a day at most."""
    record = Month(tmp_path, seed).run()
    answered = [day for day in record.days.values() if day.answered_at]

    assert 10 <= len(answered) < len(record.days) == 21
    assert all(day.stored_at == day.answered_at for day in answered)
    assert all(day.is_live_at_close for day in answered)
    assert {day.requests for day in record.days.values()} == {1}
    assert max(day.notices for day in record.days.values()) <= 7
    assert min(day.notices for day in record.days.values()) >= 2
    assert record.elsewhere.total() == 0
    assert record.restarts > 10
