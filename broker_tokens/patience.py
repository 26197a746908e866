"""Windows refuses a file while another process is at it; a moment later it does not.

Readers open a file without the right for others to replace or remove it, and virus scanners, the
search index and OneDrive read whatever was just written. No other system refuses for that reason,
so nowhere else is anything tried twice.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """The pauses, in seconds, between one try and the next."""

    pauses: tuple[float, ...]
    pause: Callable[[float], None] = time.sleep

    def until_let(self, deed: Callable[[], T]) -> T:
        """Return what `deed` returns; while another holds the file, try again.

        Raises the last try's PermissionError, and at once whatever else is wrong.
        """
        return self._insist(deed, PermissionError, self.pauses)

    def until_there(self, deed: Callable[[], T]) -> T:
        """Do the same for a file whose name may be missing for an instant, as it is replaced."""
        return self._insist(
            lambda: self.until_let(deed), FileNotFoundError, self.pauses[:_TRIES_IF_MISSING]
        )

    def _insist(
        self, deed: Callable[[], T], passing: type[OSError], pauses: tuple[float, ...]
    ) -> T:
        for seconds in pauses:
            try:
                return deed()
            except passing:
                self.pause(seconds)
        return deed()


# A file is more often missing for good than for an instant: these are 7 ms.
_TRIES_IF_MISSING = 3

# In all two seconds. Access denied, sharing violation and lock violation (Win32 errors 5, 32 and
# 33) all are a PermissionError.
OF_WINDOWS = Patience((*(0.001 * 2**n for n in range(9)), 0.5, 0.5, 0.5))
OF_OTHERS = Patience(())


def of_system(name: str = os.name) -> Patience:
    """Return how patient one has to be on a system of this `os.name`."""
    return OF_WINDOWS if name == "nt" else OF_OTHERS


HERE = of_system()
