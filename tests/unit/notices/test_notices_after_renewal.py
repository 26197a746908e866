"""UPSTOX_ON_RENEW: once for each new token, whoever brought it and however often we restart."""

import os
from datetime import timedelta

import pytest
from unit.notices.occasions import CUT
from unit.plan.looks import jwt

from broker_tokens.model import Way
from broker_tokens.notices.after_renewal import AfterRenewal
from broker_tokens.notices.courier import Courier
from broker_tokens.secrets import Secret
from broker_tokens.store import TokenStore, format_expiry

TOKEN = "planted-access-token-of-friday"
LIMIT = timedelta(seconds=30)


@pytest.fixture
def renewing(unreached):
    """A trader whose command writes down its runs and environment, and fails while told to."""
    program = unreached.program(
        "renewed",
        'env > environ; echo run >> runs; printf \'%s \' "$0" "$@" > argv',
        "if [ -e broken ]; then echo 'no such unit' >&2; exit 5; fi",
    )
    unreached.set(UPSTOX_ON_RENEW=f"{program} --now")
    return unreached


class Service:
    """A service's part after a renewal; `tick` waits until all is done."""

    def __init__(self, trader, **environ):
        self.trader = trader
        self.courier = Courier()
        self.after_renewal = trader.after_renewal(self.courier, **environ)

    def tick(self):
        self.after_renewal.look_after(self.trader.look())
        assert self.courier.drain(LIMIT)
        return len(self.trader.lines("runs"))


class Dying:
    """The courier of a process that dies before its command is run."""

    def submit(self, job):
        pass


def test_it_runs_once_for_a_token_over_ticks_and_restarts(renewing):
    """Which token it was run for is in the saved state."""
    renewing.take_token(TOKEN)
    service = Service(renewing)

    assert [service.tick() for _ in range(3)] == [1, 1, 1]
    assert [Service(renewing).tick() for _ in range(3)] == [1, 1, 1]
    assert renewing.state.ran_for == Secret(TOKEN).fingerprint


def test_it_runs_again_for_the_next_token(renewing):
    """And for one that came while no service ran."""
    renewing.take_token(TOKEN)
    service = Service(renewing)
    service.tick()
    renewing.take_token("planted-second-token")
    assert service.tick() == 2
    renewing.take_token("planted-third-token")

    assert Service(renewing).tick() == 3


def test_a_token_seen_twice_before_its_command_has_run_is_one(renewing):
    """The loop ticks on while the command is busy."""
    renewing.take_token(TOKEN)
    service = Service(renewing)
    look = renewing.look()
    for _ in range(5):
        service.after_renewal.look_after(look)

    assert service.tick() == 1


def test_a_crash_before_it_has_run_does_not_lose_it(renewing):
    """The next process runs it."""
    renewing.take_token(TOKEN)
    renewing.after_renewal(Dying()).look_after(renewing.look())
    assert renewing.lines("runs") == []

    assert Service(renewing).tick() == 1


def no_token(trader):
    """Nothing is stored."""


def dead_token(trader):
    """The clock has passed its end."""
    trader.take_token(TOKEN)
    trader.clock.now = CUT


def foreign_token(trader):
    """Somebody else's is run for once it has been taken over."""
    trader.set(access_token=jwt(CUT).reveal())


def refused_token(trader):
    """The broker has called it dead."""
    trader.take_token(TOKEN)
    with trader.store.writing() as writer:
        writer.save_state(writer.load().state.with_refused(Secret(TOKEN).fingerprint))


def nothing_to_run(trader):
    """The setting was taken away."""
    trader.take_token(TOKEN)
    trader.set(UPSTOX_ON_RENEW="")


@pytest.mark.parametrize(
    "situation", [no_token, dead_token, foreign_token, refused_token, nothing_to_run]
)
def test_there_is_nothing_to_run_for(renewing, situation):
    """Nothing runs, nothing is noted."""
    situation(renewing)

    assert Service(renewing).tick() == 0
    assert renewing.state.ran_for == ""


def test_a_command_that_is_set_later_runs_for_the_token_that_is_there(renewing):
    """The edit counts at the next tick."""
    line = renewing.settings().on_renew
    nothing_to_run(renewing)
    service = Service(renewing)
    service.tick()
    renewing.set(UPSTOX_ON_RENEW=line)

    assert service.tick() == 1


@pytest.mark.parametrize("way", [Way.PHONE_APPROVAL, Way.REFRESH_GRANT, Way.FOUND])
def test_it_is_told_of_the_token_and_never_the_token(renewing, way):
    """File, account, end and way; the token is in neither environment nor arguments."""
    renewing.take_token(TOKEN, way=way)
    Service(renewing, access_token=TOKEN, UPSTOX_USER_ID="old").tick()
    environ = dict(line.split("=", 1) for line in renewing.lines("environ"))
    told = {key: value for key, value in environ.items() if key.startswith("UPSTOX_")}

    assert told == {
        "UPSTOX_ENV_FILE": str(renewing.env_file),
        "UPSTOX_USER_ID": "SIM001",
        "UPSTOX_TOKEN_EXPIRES_AT": format_expiry(CUT),
        "UPSTOX_RENEWED_BY": way.value,
    }
    assert environ["PATH"] == os.defpath
    assert "planted" not in str(environ) + str(renewing.lines("argv"))
    assert renewing.lines("argv") == [f"{renewing.folder}/renewed --now "]


def test_the_file_is_named_whole_wherever_the_service_was_started(renewing, monkeypatch):
    """A `.env` that was given as `.env` is of no use in another folder."""
    monkeypatch.chdir(renewing.folder)
    renewing.take_token(TOKEN)
    courier = Courier()
    store = TokenStore(".env")
    AfterRenewal(store, renewing.clock, courier, {"PATH": os.defpath}).look_after(renewing.look())
    assert courier.drain(LIMIT)

    assert f"UPSTOX_ENV_FILE={renewing.env_file}" in renewing.lines("environ")


def test_a_failure_is_kept_until_the_next_success(renewing, caplog):
    """With the hour and the command's own words; it is not tried again for the same token."""
    broken = renewing.folder / "broken"
    broken.touch()
    renewing.take_token(TOKEN)
    assert [Service(renewing).tick() for _ in range(2)] == [1, 1]
    failure = renewing.state.command_failure
    assert failure.at == renewing.clock.now
    assert "UPSTOX_ON_RENEW" in failure.what
    assert "exit code 5" in failure.what
    assert "no such unit" in failure.what
    assert [record.getMessage() for record in caplog.records] == [failure.what]

    broken.unlink()
    renewing.take_token("planted-second-token")
    assert Service(renewing).tick() == 2
    assert renewing.state.command_failure is None


def test_a_command_that_is_not_there_is_a_failure_too(renewing):
    """Named, and kept for the status."""
    renewing.set(UPSTOX_ON_RENEW="/no/such/program")
    renewing.take_token(TOKEN)
    Service(renewing).tick()

    assert "'/no/such/program' cannot be started" in renewing.state.command_failure.what


def test_the_rest_of_the_state_and_the_tokens_are_kept(renewing):
    """What was saved while the command ran is not undone by its note."""
    renewing.take_token(TOKEN)
    look = renewing.look()
    during = renewing.program("during", "while [ ! -e go ]; do sleep 0.02; done; echo run >> runs")
    renewing.set(UPSTOX_ON_RENEW=during)
    service = Service(renewing)
    service.after_renewal.look_after(renewing.look())
    renewing.take_token("planted-second-token", way=Way.PASTE)
    (renewing.folder / "go").touch()
    assert service.courier.drain(LIMIT)
    state = renewing.state

    assert state.ran_for == look.tokens.access_token.fingerprint
    assert state.last_renewal.way is Way.PASTE
    assert renewing.store.load().tokens.access_token.reveal() == "planted-second-token"
    assert service.tick() == 2


def test_a_note_that_cannot_be_saved_has_it_run_no_second_time_in_this_process(renewing, caplog):
    """A full disk must not restart a strategy each minute."""
    renewing.take_token(TOKEN)
    look = renewing.look()
    service = Service(renewing)
    state = renewing.folder / ".env.state.json"
    state.unlink()
    state.mkdir()
    for _ in range(3):
        service.after_renewal.look_after(look)
        assert service.courier.drain(LIMIT)

    assert renewing.lines("runs") == ["run"]
    assert len(caplog.records) >= 1
