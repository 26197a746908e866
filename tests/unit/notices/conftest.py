"""A trader's `.env` whose channels are small programs that write down what they are told."""

import os
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.house import HandClock
from unit.notices.occasions import CUT, on_friday
from unit.plan.looks import APP, SilentBroker

from broker_tokens.look import Look, take_look
from broker_tokens.model import Event, Renewal, State, Way
from broker_tokens.notices.after_renewal import AfterRenewal
from broker_tokens.notices.courier import Courier
from broker_tokens.notices.notifier import Notifier
from broker_tokens.secrets import Secret
from broker_tokens.settings import Settings, load_settings
from broker_tokens.store import ACCESS_TOKEN, EXPIRES_AT, USER_ID, TokenStore, format_expiry

# No test waits this long for anything that works.
LIMIT = timedelta(seconds=30)
ENVIRON = {"PATH": os.defpath}


@dataclass
class Trader:
    """One `.env`, and what its owner's programs have written down."""

    folder: Path
    clock: HandClock

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    @property
    def store(self) -> TokenStore:
        return TokenStore(str(self.env_file))

    @property
    def state(self) -> State:
        return self.store.load().state

    def set(self, **keys: object) -> None:
        """Put keys into the `.env`; the last line counts."""
        with self.env_file.open("a", encoding="utf-8") as file:
            file.writelines(f"{key}={value}\n" for key, value in keys.items())

    def program(self, name: str, *lines: str) -> Path:
        """Write an executable script that runs in the trader's folder."""
        path = self.folder / name
        path.write_text("\n".join(["#!/bin/sh", f"cd '{self.folder}'", *lines, ""]))
        path.chmod(0o700)
        return path

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file that a program has written, none if there is none."""
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def settings(self) -> Settings:
        return load_settings(self.store.load().values, {})

    def start_notifier(self, store: TokenStore | None = None, settings=None) -> "Told":
        """Return a notifier as a process that has just started has it."""
        courier = Courier()
        notifier = Notifier(
            store or self.store, settings or self.settings, courier, {**ENVIRON, "HOME": "/"}
        )
        return Told(notifier, courier)

    def after_renewal(self, courier: Courier, **environ: str) -> AfterRenewal:
        """Return what runs UPSTOX_ON_RENEW, as a process that has just started has it."""
        return AfterRenewal(self.store, self.clock, courier, {**ENVIRON, **environ})

    def take_token(
        self, token: str, expires_at: datetime = CUT, way: Way = Way.BROWSER_LOGIN
    ) -> None:
        """Store a token as a renewal does."""
        keys = {ACCESS_TOKEN: token, EXPIRES_AT: format_expiry(expires_at), USER_ID: "SIM001"}
        with self.store.writing() as writer:
            state = writer.load().state.with_written(Secret(token), expires_at)
            renewed = replace(state, last_renewal=Renewal(self.clock(), way))
            writer.save_tokens(keys, renewed)

    def look(self) -> Look:
        """Look at the files as the service does."""

        def configure(values):
            return load_settings(values, {}), SilentBroker()

        return take_look(self.store.load(), configure, self.clock())


@dataclass
class Told:
    """A notifier and its courier; telling waits until all is given."""

    notifier: Notifier
    courier: Courier

    def __call__(self, *events: Event) -> None:
        for event in events:
            self.notifier(event)
        assert self.courier.drain(LIMIT)


@pytest.fixture
def unreached(tmp_path):
    """Friday 08:00, a `.env` without a token, and nobody to tell."""
    trader = Trader(tmp_path, HandClock(on_friday("08:00")))
    trader.env_file.touch()
    trader.set(**APP)
    return trader


@pytest.fixture
def trader(unreached):
    """The same with a program that writes down each notice's kind and text."""
    program = unreached.program(
        "tell", 'echo "$UPSTOX_NOTICE_KIND" >> kinds', "cat >> texts", "env > told_environ"
    )
    unreached.set(UPSTOX_NOTIFY_COMMAND=program)
    return unreached
