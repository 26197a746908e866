"""`UPSTOX_ON_RENEW`: the user's own command, once for each new token, whoever brought it."""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from broker_tokens import programs
from broker_tokens.clock import Clock
from broker_tokens.look import Look
from broker_tokens.model import Failure
from broker_tokens.notices import commands
from broker_tokens.notices.courier import Courier
from broker_tokens.store import TokenStore, format_expiry

log = logging.getLogger(__name__)

# Enough to restart a strategy; what takes longer belongs into the background of the command.
LIMIT = timedelta(seconds=60)


class AfterRenewal:
    """Compares each look with the token that the command was last run for.

    Which token that was is in the state, so a token that came while no service ran, or just before
    a crash, is not forgotten; a crash while the command runs has it run again.
    """

    def __init__(
        self, store: TokenStore, clock: Clock, courier: Courier, environ: Mapping[str, str]
    ) -> None:
        self._store = store
        self._clock = clock
        self._courier = courier
        self._environ = environ
        self._submitted = ""

    def look_after(self, look: Look) -> None:
        """Have the courier run the command if the live token is a new one."""
        token, expires_at = look.tokens.access_token, look.tokens.expires_at
        line = look.settings.on_renew
        if not line or token is None or expires_at is None or not look.tokens.is_live(look.now):
            return
        fingerprint = token.fingerprint
        if look.is_foreign or fingerprint in (look.state.ran_for, self._submitted):
            return
        extra = self._extra(look, expires_at)
        if self._courier.submit(lambda: self._run(line, extra, fingerprint)):
            self._submitted = fingerprint

    def _extra(self, look: Look, expires_at: datetime) -> dict[str, str]:
        """Return the variables that the command is told by: never the token itself."""
        renewal = look.state.last_renewal
        return {
            "UPSTOX_ENV_FILE": os.path.abspath(self._store.given_path),
            "UPSTOX_USER_ID": look.tokens.user_id or "",
            "UPSTOX_TOKEN_EXPIRES_AT": format_expiry(expires_at),
            "UPSTOX_RENEWED_BY": renewal.way.value if renewal else "",
        }

    def _run(self, line: str, extra: Mapping[str, str], fingerprint: str) -> None:
        words = programs.split(line)
        finished = commands.run(
            words, environ=self._environ, extra=extra, limit=LIMIT, hide=self._store.redact
        )
        failure = None
        if finished.problem:
            said = f" It said: {finished.said}" if finished.said else ""
            failure = Failure(self._clock(), f"UPSTOX_ON_RENEW: {finished.problem}{said}")
            log.warning("%s", failure.what)
        else:
            log.info("UPSTOX_ON_RENEW has run.")
        with self._store.writing() as writer:
            state = writer.load().state
            writer.save_state(replace(state, ran_for=fingerprint, command_failure=failure))
