"""A folder with a `.env` as users have it, and a token that lives."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker_tokens.clock import IST
from broker_tokens.simulator.minting import Mint
from broker_tokens.store import EXPIRES_AT, format_expiry

_MINT = Mint()


def token(number: int = 0) -> tuple[str, str]:
    """Return a token that lives for hours, and its expiry as `.env` has it."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=9)
    made = _MINT.access_token("AB1234", ends - timedelta(hours=20, seconds=number), ends)
    return made, format_expiry(ends.astimezone(IST))


def text(number: int = 0, **keys: str) -> str:
    """Return a `.env` of ten lines."""
    made, ends = token(number)
    more = "".join(f"{key}={value}\n" for key, value in keys.items())
    return (
        "# My Upstox app\nUPSTOX_CLIENT_ID=615b1297-d443-3b39-ba19-1927fbcdddc7\n"
        "UPSTOX_CLIENT_SECRET=a1b2c3d4e5\nUPSTOX_REDIRECT_URI=http://localhost:3000/callback\n\n"
        f"access_token={made}\nUPSTOX_REFRESH_TOKEN=\n{EXPIRES_AT}={ends}\n"
        f"UPSTOX_USER_ID=AB1234\n{more}LOG_LEVEL='INFO'\n"
    )


def write_old(path: Path, content: str) -> None:
    """Write a file that changed a minute ago, as a `.env` has nearly always."""
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    before = time.time() - 60
    os.utime(path, (before, before))
