"""Upstox's own client works with a token of the simulator."""

import pytest

from broker_tokens.simulator.server import SimulatorServer

upstox_client = pytest.importorskip("upstox_client")


@pytest.fixture
def user_api(broker):
    """An SDK client of the simulator; its first configuration is remembered, so `host` is set."""
    configuration = upstox_client.Configuration()
    with SimulatorServer(broker) as server:
        configuration.host = server.url
        api_client = upstox_client.ApiClient(configuration)
        yield upstox_client.UserApi(api_client)
        api_client.rest_client.pool_manager.clear()
        api_client.pool.close()
        api_client.pool.join()


def test_profile(user_api, broker):
    """The official client gets the profile."""
    user_api.api_client.configuration.access_token = broker.mint("SDK001")
    reply = user_api.get_profile("2.0")

    assert reply.status == "success"
    assert reply.data.user_id == "SDK001"
    assert reply.data.is_active is True


def test_dead_token(user_api, broker):
    """A dead token is a 401 whose code the client can read."""
    token = broker.mint()
    broker.revoke(token)
    user_api.api_client.configuration.access_token = token
    with pytest.raises(upstox_client.rest.ApiException) as caught:
        user_api.get_profile("2.0")

    assert caught.value.status == 401
    assert b"UDAPI100050" in caught.value.body
