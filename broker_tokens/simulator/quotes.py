"""Last traded prices, enough of them to tell a live token from a dead one."""

import re

from broker_tokens.simulator.wire import RefusalError

# 500 keys a call at most (Upstox docs, LTP V3).
MAX_KEYS = 500

KEY_SHAPE = re.compile(r"[A-Z]+_[A-Z]+\|.+")

Quote = dict[str, str | int | float]

# Request key -> reply key, which differs, and the quote. That an index has neither `ltq` nor
# `volume` is undocumented: leaving them out keeps clients from relying on them.
QUOTES: dict[str, tuple[str, Quote]] = {
    "NSE_INDEX|Nifty 50": ("NSE_INDEX:Nifty 50", {"last_price": 26012.45, "cp": 25968.1}),
    "NSE_INDEX|Nifty Bank": ("NSE_INDEX:Nifty Bank", {"last_price": 58817.2, "cp": 58759.9}),
    "NSE_EQ|INE848E01016": (
        "NSE_EQ:NHPC",
        {"last_price": 78.4, "ltq": 25, "volume": 4815162, "cp": 78.05},
    ),
}


def last_prices(instrument_keys: str) -> dict[str, Quote]:
    """Return the `data` of a reply, or refuse as documented (Upstox docs, LTP V3)."""
    if not instrument_keys:
        raise RefusalError("UDAPI1009", "instrument_key")
    keys = instrument_keys.split(",")
    if len(keys) > MAX_KEYS:
        raise RefusalError("UDAPI100043", "instrument_key")
    if not all(KEY_SHAPE.fullmatch(key) for key in keys):
        raise RefusalError("UDAPI1011", "instrument_key")
    if not QUOTES.keys() >= set(keys):
        raise RefusalError("UDAPI1087", "instrument_key")
    return {QUOTES[key][0]: QUOTES[key][1] | {"instrument_token": key} for key in keys}
