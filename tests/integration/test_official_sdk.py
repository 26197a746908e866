"""The broker's official SDK works with the token that this project keeps."""

import pytest
from support.house import running_house

from broker_tokens.simulator.broker import RefreshGrant

upstox_client = pytest.importorskip("upstox_client")


def test_the_sdk_gets_the_profile_with_the_current_token(tmp_path):
    """`get_current_token()` is all that the SDK needs, on the first day and on the next."""
    users = []
    with running_house(tmp_path, "2026-11-20 08:00", RefreshGrant.ROTATING) as house:
        house.log_in()
        manager = house.manager()
        for _ in range(2):
            users.append(profile_of(house.url, manager.get_current_token()))
            house.clock.advance(days=1)

    assert users == ["SIM001", "SIM001"]


def profile_of(url, token):
    configuration = upstox_client.Configuration()
    configuration.host = url
    configuration.access_token = token
    client = upstox_client.ApiClient(configuration)
    try:
        return upstox_client.UserApi(client).get_profile("2.0").data.user_id
    finally:
        client.rest_client.pool_manager.clear()
        client.pool.close()
        client.pool.join()
