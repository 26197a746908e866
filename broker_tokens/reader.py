"""The strategy's side: the stored token, read again only when the file has changed."""

import os

from broker_tokens.model import StoredTokens
from broker_tokens.store import TokenStore

_Signature = tuple[int, int, int, int]


class TokenReader:
    """Reads the tokens of one `.env`; safe for any number of threads.

    The signature holds the time in nanoseconds besides inode, device and size: the file system
    gives a freed inode back at every second replace, and a new token is as long as the old one.
    """

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self._cached: tuple[_Signature, StoredTokens] | None = None

    def read(self) -> StoredTokens:
        """Return the stored tokens; raises StoreError if the file cannot be read."""
        signature = self._signature()
        cached = self._cached
        if cached is not None and signature is not None and cached[0] == signature:
            return cached[1]
        # Signed before it is read: a change in between is read again at the next call.
        tokens = self._store.load().tokens
        self._cached = None if signature is None else (signature, tokens)
        return tokens

    def _signature(self) -> _Signature | None:
        try:
            # `stat` follows links by itself; resolving the path first would cost ten times as much.
            found = os.stat(self._store.given_path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_dev, found.st_size
