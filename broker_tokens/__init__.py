"""Keeps a valid broker access token in `.env`. The doors are the modules at the top level."""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # noqa: UP036 -- said here, before anything that it cannot read
    found = f"{sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
    raise ImportError(f"Python 3.11 or newer is needed; this is {found}.")
