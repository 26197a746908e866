"""Ask for prices in an asyncio program, and say when the token has changed.

pip install httpx
python examples/watch_async.py "NSE_INDEX|Nifty 50"
"""

import asyncio
import sys

import httpx

from broker_tokens.with_httpx import UpstoxAuth
from upstox_token_manager import LoginRequired, UpstoxTokenManager


async def ask(client: httpx.AsyncClient, instrument: str) -> None:
    """Print the price every few seconds."""
    while True:
        try:
            reply = await client.get("/v3/market-quote/ltp", params={"instrument_key": instrument})
            reply.raise_for_status()
            for quote in reply.json()["data"].values():
                print(quote["last_price"], flush=True)
        except LoginRequired as error:
            print(f"Waiting for a token. {error}", file=sys.stderr, flush=True)
        except httpx.HTTPError as error:
            print(f"No price: {type(error).__name__}", file=sys.stderr, flush=True)
        await asyncio.sleep(5)


async def follow(manager: UpstoxTokenManager) -> None:
    """Say when there is another token: the place to reconnect what the old one opened."""
    token = ""
    while True:
        token = await manager.wait_for_change_async(since=token)
        print("There is a new token.", flush=True)


async def main(instrument: str) -> None:
    """Do both until the program is ended."""
    manager = UpstoxTokenManager()
    async with httpx.AsyncClient(base_url=manager.api_url, auth=UpstoxAuth(manager)) as client:
        await asyncio.gather(ask(client, instrument), follow(manager))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
