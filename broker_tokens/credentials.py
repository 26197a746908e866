"""Secrets from files of their own: what systemd hands to a service by LoadCredential=.

A file of $CREDENTIALS_DIRECTORY that is named like a key holds that key's value. The process
environment outranks it, and it outranks the `.env`. Tokens are in the `.env` alone.
"""

import os
import re
from collections.abc import Iterator, Mapping

from broker_tokens.errors import ConfigurationError
from broker_tokens.secrets import Secret

# The first name is ours; the others are what users' other tools call the same thing.
CLIENT_ID_KEYS = ("UPSTOX_CLIENT_ID", "UPSTOX_API_KEY")
CLIENT_SECRET_KEYS = ("UPSTOX_CLIENT_SECRET", "UPSTOX_API_SECRET", "UPSTOX_SECRET_KEY")

_SECRET_KEYS = (*CLIENT_SECRET_KEYS, "UPSTOX_NOTIFY_URLS", "UPSTOX_NOTIFIER_SECRET")

_FOLDER = "CREDENTIALS_DIRECTORY"

# A dozen addresses take a few hundred bytes; what is larger is some other file.
_LARGEST = 64 * 1024


class WithCredentials(Mapping[str, str]):
    """The variables of a process, and behind them its credentials."""

    def __init__(self, variables: Mapping[str, str], folder: str) -> None:
        """Read the credentials in `folder`; raises ConfigurationError naming the file."""
        self.variables = variables
        self._folder = folder
        self._credentials = dict(_read(folder))
        # Kept alive, as that is what has them redacted.
        self._held = [
            Secret(part)
            for key in _SECRET_KEYS
            for part in re.split(r"[,\s]+", self._credentials.get(key, ""))
        ]

    def __getitem__(self, key: str) -> str:
        return self._credentials[key] if self.place_of(key) else self.variables[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.variables, **self._credentials})

    def __len__(self) -> int:
        return len({**self.variables, **self._credentials})

    def place_of(self, key: str) -> str:
        """Return the file that a value is from, or "" if it is a variable's."""
        if key not in self._credentials or self.variables.get(key, "").strip():
            return ""
        return _path(self._folder, key)


def surroundings(environ: Mapping[str, str] | None = None) -> Mapping[str, str]:
    """Return what a process is configured by beside the `.env`: variables and credentials.

    `environ` is the process's by default. Raises ConfigurationError for a credential that cannot
    be read.
    """
    variables = os.environ if environ is None else environ
    folder = variables.get(_FOLDER, "")
    if not folder or isinstance(variables, WithCredentials):
        return variables
    return WithCredentials(variables, folder)


def place_of(environ: Mapping[str, str], key: str) -> str:
    """Return the credential file that a value of the surroundings is from, or "" if from none."""
    return environ.place_of(key) if isinstance(environ, WithCredentials) else ""


def variables_of(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the surroundings without the credentials, which are for nobody else."""
    return environ.variables if isinstance(environ, WithCredentials) else environ


def _read(folder: str) -> Iterator[tuple[str, str]]:
    for key in (*CLIENT_ID_KEYS, *_SECRET_KEYS):
        text = _content(_path(folder, key))
        if text is not None:
            yield key, text


def _path(folder: str, key: str) -> str:
    return os.path.join(folder, key)


def _content(path: str) -> str | None:
    """Return the text of a file without the line's end behind it, None if there is no such file."""
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST:
        raise _unusable(path, f"is larger than {_LARGEST >> 10} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unusable(path, "is not text") from None
    if "\0" in text:
        raise _unusable(path, "is not text")
    return text.rstrip("\r\n")


def _unusable(path: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"The credential file {path} {why}.",
        "It is to hold the value of that key alone; see LoadCredential= of the unit.",
    )
