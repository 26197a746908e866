"""What a service has done or tried itself is recorded, once; what others did, by them."""

import json
from dataclasses import replace

import pytest
from support.house import ist
from unit.service.approvals import KEY

from broker_tokens.errors import TokenError
from broker_tokens.secrets import Secret

NOWHERE = "http://127.0.0.1:9"


def record(house):
    path = house.env_file.with_name(".env.audit.jsonl")
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def events(house):
    return [line["event"] for line in record(house)]


def test_a_login_and_what_follows(rotating):
    """A login, a renewal by the plan, one by hand, and a logout: four lines with one account."""
    rotating.log_in()
    rotating.clock.now = ist("2026-11-20 03:31")
    rotating.service().tick()
    rotating.manager().refresh_access_token()
    rotating.service().log_out()

    assert events(rotating) == ["logged_in", "renewed", "renewed", "logged_out"]
    assert {line["account"] for line in record(rotating)} == {"SIM001"}
    assert [bool(line["expires_at"]) for line in record(rotating)] == [True, True, True, False]


def test_a_strategy_renews_and_the_service_notices(rotating):
    """The strategy's line is the only one; the service that tells of it records nothing."""
    rotating.log_in()
    service = rotating.service()
    service.tick()
    rotating.clock.now = ist("2026-11-20 03:31:30")
    rotating.manager().get_current_token()
    service.tick()

    assert events(rotating) == ["logged_in", "renewed"]
    assert len(rotating.events) == 1


def test_reading_a_token_is_no_event(rotating):
    """A strategy that asks for its live token all day leaves no line."""
    rotating.log_in()
    for _ in range(10):
        rotating.manager().get_current_token()
        rotating.service().tick()

    assert events(rotating) == ["logged_in"]


def test_a_token_that_somebody_else_put_there(house):
    """It is found once, whoever looks."""
    token = house.broker.mint()
    house.set(access_token=token)
    for _ in range(3):
        house.service().tick()

    assert events(house) == ["found"]
    assert record(house)[0]["fingerprint"] == Secret(token).fingerprint


def test_a_pasted_token(house):
    """One that works is pasted, one that does not is refused."""
    house.service().accept_pasted(Secret(house.broker.mint()))
    with pytest.raises(TokenError):
        house.service().accept_pasted(Secret("planted-dead-token"))

    assert [(line["event"], line["way"]) for line in record(house)] == [
        ("pasted", "paste"),
        ("refused", "paste"),
    ]


def test_a_wrong_code_is_refused(house):
    """With the reason, and without the code."""
    for _ in range(2):
        with pytest.raises(TokenError):
            house.manager().get_access_token_from_code("planted-code")
    lines = record(house)

    assert {(line["event"], line["way"]) for line in lines} == {("refused", "browser_login")}
    assert len(lines) == 2  # refused by Upstox; then by us, as it was sent before
    assert "planted" not in str(lines)


def test_a_dead_network_is_one_line(rotating):
    """The service's retries, a restarted service's, and a strategy's are one failure."""
    rotating.log_in()
    rotating.set(UPSTOX_API_URL=NOWHERE)
    rotating.clock.now = ist("2026-11-20 03:31")
    for _ in range(30):
        rotating.service().tick()
        with pytest.raises(TokenError):
            rotating.manager().get_current_token()
        rotating.clock.advance(minutes=2)

    assert events(rotating) == ["logged_in", "failed"]


def test_a_refused_refresh_token_is_one_line(house):
    """It is refused once and not tried again; then the person is asked, reminded, alarmed."""
    house.set(UPSTOX_REFRESH_TOKEN="planted-refresh-token")
    while house.clock.now < ist("2026-11-20 09:40"):
        house.service().tick()
        house.clock.advance(minutes=1)

    assert events(house) == [
        *("refused", "asked", "reminded", "reminded", "reminded", "alarmed", "reminded"),
    ]


def test_a_token_that_dies_early(house):
    """The broker's word that it is dead is a line, whoever asked and however often."""
    token = house.log_in()
    house.broker.revoke(token)
    for _ in range(3):
        house.manager().report_rejected(token)
        house.clock.advance(minutes=1)
    with pytest.raises(TokenError):
        house.service().confirm()

    assert events(house) == ["logged_in", "died"]
    assert record(house)[1]["fingerprint"] == Secret(token).fingerprint


def test_the_phone(house):
    """Asked by the plan, asked by hand: each time a line; the token that comes is approved."""
    house.set(UPSTOX_NOTIFIER_SECRET=KEY, UPSTOX_USER_ID="SIM001")
    service = house.service(is_listening=True)
    house.broker.notifier_url = f"https://trader.example.com/notifier/{KEY}"
    service.tick()
    service.ask_phone()
    service.tick()

    assert [(line["event"], line["way"]) for line in record(house)] == [
        ("asked", "phone_approval"),
        ("asked", "phone_approval"),
    ]
    assert record(house)[0]["expires_at"] == "2026-11-21T03:30:00+05:30"


def test_a_listener_and_a_loop_of_one_process(house, monkeypatch):
    """That the loop has seen the token first, and told of it, takes no line away."""
    listener = house.service()
    loop = house.service(announcer=listener._announcer)
    loop.tick()
    save = listener._accept

    def save_and_be_seen(writer, reply, way):
        tokens = save(writer, reply, way)
        loop._announcer.notice(replace(loop.look(), tokens=tokens))
        return tokens

    monkeypatch.setattr(listener, "_accept", save_and_be_seen)
    listener.accept_pasted(Secret(house.broker.mint()))

    assert events(house)[-1] == "pasted"
    assert events(house).count("pasted") == 1


def test_a_record_that_cannot_be_written(rotating):
    """Nothing of a renewal depends on it."""
    rotating.env_file.with_name(".env.audit.jsonl").mkdir()
    rotating.log_in()
    rotating.clock.now = ist("2026-11-20 03:31")
    rotating.service().tick()

    assert rotating.manager().get_current_token()
