"""Stream prices with Upstox's own SDK, day after day: reconnects with each new token.

    pip install upstox-python-sdk
    python examples/stream_prices.py "NSE_INDEX|Nifty 50"

The SDK does not check the certificate of its streams (2.30): use it on a network that you trust.
"""

import sys
import threading

import upstox_client

from broker_tokens.with_upstox_client import bind, keep_connected
from upstox_token_manager import UpstoxTokenManager


def show(message: dict) -> None:
    """Print the last traded prices in a message."""
    for instrument, feed in message.get("feeds", {}).items():
        print(instrument, feed["ltpc"]["ltp"], flush=True)


def main(*instruments: str) -> None:
    """Stream until the program is ended."""
    manager = UpstoxTokenManager()
    client = upstox_client.ApiClient(bind(upstox_client.Configuration(), manager))
    streamer = upstox_client.MarketDataStreamerV3(client, list(instruments), "ltpc")
    streamer.on("message", show)
    streamer.on("error", lambda error: print("Stream:", error, file=sys.stderr, flush=True))
    keep_connected(streamer, manager)
    if manager.wait_for_change(since=""):  # at 07:00 there is no token; at 08:30 there is
        streamer.connect()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
