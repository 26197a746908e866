"""Place one order with `requests`: at most once, whatever becomes of the connection or the token.

    python examples/order_safely.py "NSE_EQ|INE669E01016" 1

UPSTOX_ORDER_URL names another place to order at, such as `upstox-token simulate`.
"""

import os
import sys
import uuid

import requests

from broker_tokens.with_requests import UpstoxAuth
from upstox_token_manager import TokenError

ORDER_URL = os.environ.get("UPSTOX_ORDER_URL", "https://api-hft.upstox.com") + "/v3/order/place"


def place(session: requests.Session, instrument: str, quantity: int, tag: str) -> str:
    """Send one market order and return its id; the tag finds it in the order book again."""
    order = {
        "instrument_token": instrument,
        "quantity": quantity,
        "product": "I",
        "validity": "DAY",
        "price": 0,
        "order_type": "MARKET",
        "transaction_type": "BUY",
        "disclosed_quantity": 0,
        "trigger_price": 0,
        "is_amo": False,
        "slice": False,
        "tag": tag,
    }
    reply = session.post(ORDER_URL, json=order, timeout=(5, 15))
    reply.raise_for_status()
    return str(reply.json()["data"]["order_ids"][0])


def main(instrument: str, quantity: str) -> int:
    """Place the order; 0 if it was taken, 1 if it was not, 2 if nobody knows."""
    tag = uuid.uuid4().hex[:20]
    with requests.Session() as session:
        session.auth = UpstoxAuth()
        try:
            print("Placed:", place(session, instrument, int(quantity), tag))
        except TokenError as error:  # before anything was sent
            print(f"Not placed: {error}", file=sys.stderr)
            return 1
        except requests.HTTPError as error:  # Upstox has refused it
            print(f"Not placed: HTTP {error.response.status_code}", file=sys.stderr)
            return 1
        except requests.RequestException:  # perhaps it was taken, and the answer got lost
            print(f"Unknown: look for the tag {tag} in the order book first.", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
