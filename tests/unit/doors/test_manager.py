"""What a strategy gets: a live token, or an error that says what to do."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from support.house import ist, running_house

import upstox_token_manager
from broker_tokens.clock import system_clock
from broker_tokens.file_lock import FileLock
from broker_tokens.simulator.broker import RefreshGrant
from broker_tokens.store import TokenStore
from upstox_token_manager import (
    ConfigurationError,
    LoginRequired,
    StoreError,
    TemporaryFailure,
    TokenRejected,
    UpstoxTokenManager,
    get_current_token,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def house(tmp_path):
    """Friday 08:00, as Upstox documents it."""
    with running_house(tmp_path) as made:
        yield made


@pytest.fixture
def rotating(tmp_path):
    """The same with a refresh grant that rotates."""
    with running_house(tmp_path, refresh=RefreshGrant.ROTATING) as made:
        yield made


def test_the_calls_of_the_guide_as_users_type_them(house):
    """Login address, code, token: guide A's three lines."""
    manager = UpstoxTokenManager(house.env_file, environ={}, clock=house.clock)
    url = manager.get_authorization_url()
    stored = manager.get_access_token_from_code(house.consent().partition("code=")[2].split("&")[0])

    assert "client_id=sim-client" in url
    assert manager.get_current_token() == stored == manager.access_token
    assert manager.token_expiry == ist("2026-11-21 03:30")
    assert (manager.client_id, manager.client_secret) == ("sim-client", "sim-secret")
    assert manager.redirect_uri == "http://localhost:3000/callback"
    assert manager.refresh_token is None
    assert house.broker.is_live(stored)


def test_a_dead_token_is_never_handed_out(house):
    """At 03:30:00 the token is dead, and the error tells where to log in."""
    manager = house.manager()
    house.log_in()
    house.clock.now = ist("2026-11-21 03:29:59")
    last = manager.get_current_token()
    house.clock.now = ist("2026-11-21 03:30:00")

    assert last
    with pytest.raises(LoginRequired, match="^Token is expired or invalid") as caught:
        manager.get_current_token()
    assert caught.value.login_url == manager.get_authorization_url()
    assert manager.access_token == last


def test_a_dead_token_is_renewed_on_demand(rotating):
    """A strategy that is faster than the service renews by itself."""
    manager = rotating.manager()
    first = rotating.log_in()
    rotating.clock.now = ist("2026-11-21 03:30:00")
    second = manager.get_current_token()

    assert second != first
    assert rotating.broker.is_live(second)


def test_the_services_new_token_is_seen_without_a_restart(rotating):
    """One manager lives through the service's renewals."""
    manager = rotating.manager()
    rotating.log_in()
    seen = [manager.get_current_token()]
    for _ in range(3):
        rotating.service().renew()
        seen.append(manager.get_current_token())

    assert len(set(seen)) == 4
    assert rotating.broker.is_live(seen[-1])


def test_a_token_that_another_brings_while_one_waits_is_taken_at_once(rotating):
    """The other still holds the lock, and writes its notes; nobody has to queue behind it."""
    first = rotating.log_in()
    rotating.clock.now = ist("2026-11-21 03:31")
    path = str(rotating.env_file)
    fresh = rotating.broker.mint()
    with FileLock(path + ".lock"):

        def pause(_):
            rotating.set(access_token=fresh)

        service = rotating.service()
        service._store = TokenStore(path, pause=pause)
        got = service.current_token()

    assert got.reveal() == fresh != first
    assert rotating.broker.token_requests == 1


def test_a_change_that_brings_no_token_is_waited_on(rotating):
    """Somebody adds a comment meanwhile: the wait for the lock goes on, and ends in a renewal."""
    rotating.log_in()
    rotating.clock.now = ist("2026-11-21 03:31")
    path = str(rotating.env_file)
    holder = FileLock(path + ".lock")
    assert holder.try_acquire()
    pauses = []

    def pause(_):
        pauses.append(1)
        rotating.set(NOTE=str(len(pauses)))
        if len(pauses) == 3:
            holder.release()

    service = rotating.service()
    service._store = TokenStore(path, pause=pause)

    assert rotating.broker.is_live(service.current_token().reveal())
    assert rotating.broker.token_requests == 2


def test_a_margin_that_no_token_can_meet_is_refused_without_asking_the_broker(rotating):
    """At 03:00 every token, new ones too, ends at 03:30."""
    manager = rotating.manager()
    rotating.log_in()
    rotating.clock.now = ist("2026-11-21 03:00")
    sent = len(rotating.broker.requests)

    with pytest.raises(TemporaryFailure, match="30 min") as caught:
        manager.get_current_token(min_valid=timedelta(hours=1))
    assert caught.value.retry_after == timedelta(minutes=30)
    assert manager.get_current_token(min_valid=timedelta(minutes=29))
    assert len(rotating.broker.requests) == sent


def test_refreshing_without_a_refresh_token_says_so_first(house):
    """The message begins with the words that users search for."""
    house.log_in()

    with pytest.raises(LoginRequired, match="^Refresh token not found"):
        house.manager().refresh_access_token()


def test_a_refresh_by_hand_returns_the_new_token(rotating):
    """Whatever is due."""
    first = rotating.log_in()
    second = rotating.manager().refresh_access_token()

    assert first != second == rotating.manager().get_current_token()


def test_one_code_is_never_sent_twice(house):
    """Not even by another process, and not after the first one failed."""
    address = house.consent()
    house.manager().get_access_token_from_code(address)

    with pytest.raises(TokenRejected, match="sent before"):
        house.manager().get_access_token_from_code(address)
    assert house.broker.token_requests == 1


def test_a_refused_grant_ends_in_login_required_with_the_reason(rotating):
    """A strategy is told what to do, and the broker is asked once."""
    manager = rotating.manager()
    rotating.log_in()
    rotating.broker.revoke_all(refresh_tokens=True)
    rotating.clock.now = ist("2026-11-21 08:00")
    for _ in range(3):
        with pytest.raises(LoginRequired, match="refuses to renew"):
            manager.get_current_token()

    assert rotating.broker.token_requests == 2


def test_a_strategy_in_a_tight_loop_does_not_hammer_a_broker_in_trouble(house):
    """Inside the backoff the answer comes from the state, with the time to wait."""
    house.set(UPSTOX_REFRESH_TOKEN="any", UPSTOX_API_URL="http://127.0.0.1:9")
    manager = house.manager()
    with pytest.raises(TemporaryFailure, match="refuses the connection"):
        manager.get_current_token()
    with pytest.raises(TemporaryFailure, match="last try failed") as caught:
        manager.get_current_token()

    assert timedelta(0) < caught.value.retry_after <= timedelta(seconds=5)


def test_only_an_access_token_is_enough(house, tmp_path):
    """A `.env` of another tool, with nothing but a JWT in it, works."""
    token = house.broker.mint()
    house.env_file.write_text(f"access_token={token}\n", encoding="utf-8")
    manager = house.manager()

    assert manager.get_current_token() == token
    assert list(tmp_path.glob(".env?*")) == []
    house.clock.advance(days=1)
    with pytest.raises(LoginRequired):
        manager.get_current_token()
    with pytest.raises(ConfigurationError, match="^Client ID/Secret not found"):
        manager.get_authorization_url()


def test_an_opaque_token_is_probed_once_for_a_strategy(tmp_path):
    """A token that does not tell its end is trusted once the broker takes it."""
    with running_house(tmp_path, opaque_tokens=True) as house:
        token = house.broker.mint()
        house.set(access_token=token)
        manager = house.manager()

        assert [manager.get_current_token() for _ in range(3)] == [token] * 3
        assert [str(r.endpoint.value) for r in house.broker.requests] == ["ltp"]


def test_an_opaque_token_that_is_dead_ends_in_login_required(tmp_path):
    """The broker's refusal is final for this token."""
    with running_house(tmp_path, opaque_tokens=True) as house:
        house.set(access_token="never-issued")
        for _ in range(2):
            with pytest.raises(LoginRequired, match="^Token is expired or invalid"):
                house.manager().get_current_token()

        assert len(house.broker.requests) == 1


def test_the_file_may_vanish_and_come_back(house):
    """An error while it is gone, the token again when it is back."""
    token = house.log_in()
    manager = house.manager()
    content = house.env_file.read_bytes()
    house.env_file.unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        manager.get_current_token()
    house.env_file.write_bytes(content)

    assert manager.get_current_token() == token


def test_the_module_function_finds_the_nearest_env_file(house, tmp_path, monkeypatch):
    """`get_current_token()` works from a folder below the one with `.env`."""
    monkeypatch.setattr(upstox_token_manager, "_shared", {})
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    stored = house.broker.mint()
    house.clock.now = system_clock()
    stored = house.broker.mint()
    house.set(access_token=stored)

    assert get_current_token() == stored
    assert get_current_token(house.env_file) == stored


def test_no_env_file_names_every_place(tmp_path, monkeypatch):
    """The error lists where a `.env` was looked for, and what to do."""
    with pytest.raises(ConfigurationError, match="nowhere.env") as caught:
        UpstoxTokenManager(tmp_path / "nowhere.env", environ={})

    assert ".env.example" in caught.value.advice


def test_the_manager_shows_no_secret(rotating):
    """repr and str of the manager hold the path alone."""
    token = rotating.log_in()
    shown = f"{rotating.manager()!r} {rotating.manager()}"

    assert str(rotating.env_file) in shown
    assert token not in shown
    assert "sim-secret" not in shown


SCHEDULER = """
import sys
from upstox_token_manager import UpstoxTokenManager
manager = UpstoxTokenManager()
thread = manager.start_auto_refresh_scheduler("02:00")
assert thread.daemon
assert UpstoxTokenManager().start_auto_refresh_scheduler() is None
while manager.token_expiry is None:
    pass
print(manager.get_current_token())
"""


def test_the_scheduler_thread_keeps_the_token_and_there_is_only_one(tmp_path):
    """The loop runs in a daemon thread, ends with the program, and is started once a `.env`."""
    with running_house(tmp_path, refresh=RefreshGrant.ROTATING) as house:
        house.clock.now = system_clock()
        house.log_in()
        house.set(access_token="")
        house.env_file.chmod(0o600)  # or it is said that others can read it
        ran = subprocess.run(
            [sys.executable, "-c", SCHEDULER],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

        assert ran.stderr == ""
        assert house.broker.is_live(ran.stdout.strip())


@pytest.mark.parametrize("wrong", ["25:00", "2", "", "02:60", "2am"])
def test_a_wrong_time_for_the_scheduler_is_a_configuration_error(house, wrong):
    """With the form that is wanted."""
    with pytest.raises(ConfigurationError, match="HH:MM"):
        house.manager().start_auto_refresh_scheduler(wrong)
