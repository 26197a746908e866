"""Which `.env` is meant. A strategy's first call comes here, so it imports next to nothing."""

import os

from broker_tokens.errors import ConfigurationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Beside the modules: the last place where a `.env` is looked for.
MODULE_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def find_env_file(
    argument: str | None, environ: "Mapping[str, str]", folder: str, module_folder: str
) -> str:
    """Return the `.env` to use, or raise ConfigurationError naming every place looked at.

    `argument` (--env-file), else UPSTOX_ENV_FILE, else `.env` in `folder` (absolute) or its nearest
    parent, else `.env` beside the modules.
    """
    # `set NAME="a b"` of Windows keeps the quotation marks, which no path there can have.
    named = argument or environ.get("UPSTOX_ENV_FILE", "").strip().strip('"')
    if named:
        place = os.path.join(folder, os.path.expanduser(named))
        places = [os.path.join(place, ".env") if os.path.isdir(place) else place]
    else:
        places = [os.path.join(each, ".env") for each in (*_upwards(folder), module_folder)]
    for place in places:
        if os.path.isfile(place):  # a folder that may not be searched holds none
            return place
    looked = ", ".join(dict.fromkeys(places))
    raise ConfigurationError(
        f"No .env file was found; looked at: {looked}.",
        "Name yours with --env-file or UPSTOX_ENV_FILE; or copy .env.example to .env and fill in"
        " the client ID and secret of your Upstox app.",
    )


def locate(env_file: str | None = None, environ: "Mapping[str, str] | None" = None) -> str:
    """Return the path of the `.env` to use, as `find_env_file` finds it from the working folder.

    `environ` defaults to the process's. Raises ConfigurationError naming the places.
    """
    surroundings = os.environ if environ is None else environ
    try:
        folder = os.getcwd()
    except OSError:  # it has been removed
        folder = ""
    return find_env_file(env_file, surroundings, folder, MODULE_FOLDER)


def _upwards(folder: str) -> "Iterator[str]":
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent
