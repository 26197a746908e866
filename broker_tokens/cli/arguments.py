"""Values of the command line."""

import argparse
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}


def length(text: str) -> timedelta:
    """Return a length of time written `30s`, `10m` or `2h`."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or len(number) > 6:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 30s, 10m or 2h")
    return timedelta(**{_UNITS[unit]: int(number)})
