"""A slip in `.env` while a program runs costs no renewal: what was right before holds on."""

import logging
from collections.abc import Callable, Mapping

from broker_tokens.errors import ConfigurationError
from broker_tokens.settings import Settings

log = logging.getLogger(__name__)


class LenientSettings:
    """Reads settings at each look; once they were right, wrong ones are reported and not used.

    A program that starts with wrong settings is told so by the exception.
    """

    def __init__(
        self, read: Callable[[Mapping[str, str]], Settings], *, is_quiet: bool = False
    ) -> None:
        """`is_quiet` leaves the report to another reader of the same file."""
        self._read = read
        self._is_quiet = is_quiet
        self._last: Settings | None = None
        self._complaint = ""

    def __call__(self, values: Mapping[str, str]) -> Settings:
        """Return the settings; raises ConfigurationError if they never were right."""
        try:
            settings = self._read(values)
        except ConfigurationError as error:
            if self._last is None:
                raise
            self._say(str(error))
            return self._last
        self._say("")
        self._last = settings
        return settings

    def _say(self, complaint: str) -> None:
        if complaint != self._complaint and not self._is_quiet:
            if complaint:
                log.error("%s Until then, the settings of before are used.", complaint)
            else:
                log.info("The settings are in order again.")
        self._complaint = complaint
