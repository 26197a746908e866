"""What is configured: settings, the app's credentials, and what of the environment outranks."""

from collections.abc import Iterator, Mapping

from broker_tokens.credentials import CLIENT_ID_KEYS, CLIENT_SECRET_KEYS, place_of
from broker_tokens.doctor.case import Case
from broker_tokens.doctor.finding import Finding, fail, failed, ok, warn
from broker_tokens.store import ACCESS_TOKEN

_APPS = "https://account.upstox.com/developer/apps"
_CREDENTIALS = (CLIENT_ID_KEYS, CLIENT_SECRET_KEYS)


def check_settings(case: Case) -> Iterator[Finding]:
    """Whether each setting can be used."""
    if case.unusable is not None:
        yield failed("settings", case.unusable)
    if case.reading.complaint is not None:
        yield failed("settings", case.reading.complaint)
    elif case.is_readable and case.unusable is None:
        yield ok("settings", "each can be used")


def check_credentials(case: Case) -> Iterator[Finding]:
    """Whether the app's ID and secret are there, and not refused."""
    if not case.is_readable:
        return
    values, environ = case.snapshot.values, case.around
    missing = [keys[0] for keys in _CREDENTIALS if not _origin(keys, values, environ)]
    where = case.env_path or "the environment"
    if missing:
        words = f"Client ID/Secret not found: {' and '.join(missing)} missing in {where}"
        remedy = f"Copy them from your app at {_APPS}"
        if case.attendance.is_running:
            yield warn("credentials", f"{words}; the running service has its own", remedy)
        elif case.look.situation.is_live(case.look.now):
            words = f"{words}; the stored token can be read here, and not renewed"
            yield warn("credentials", words, remedy)
        else:
            yield fail("credentials", words, remedy)
        return
    origins = {_origin(keys, values, environ) for keys in _CREDENTIALS}
    yield ok("credentials", f"client ID and secret are set, in {' and '.join(sorted(origins))}")
    if case.look.is_app_refused:
        yield fail(
            "credentials",
            "Upstox has refused this app's credentials; they are not tried again until they change",
            "Compare UPSTOX_CLIENT_ID, UPSTOX_CLIENT_SECRET and UPSTOX_REDIRECT_URI with the app"
            f" at {_APPS}, then log in: python init_tokens.py",
        )


def _origin(keys: tuple[str, ...], values: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return where one of these keys is set, as SettingReader looks: "" if nowhere."""
    found = [key for key in keys if environ.get(key, "").strip()]
    if found:
        return "credential files" if place_of(environ, found[0]) else "the environment"
    return ".env" if any(values.get(key, "").strip() for key in keys) else ""


def check_environment(case: Case) -> Iterator[Finding]:
    """What this environment holds that differs from the file: yesterday's export, forgotten."""
    values, environ = case.snapshot.values, case.surroundings.environ
    differing = [key for key in sorted(environ) if _outranks(key, values, environ)]
    if differing:
        yield warn(
            "environment",
            f"{', '.join(differing)} of this environment outranks another value in .env",
            f"Unless that is meant: unset {' '.join(differing)}",
        )
    token = environ.get(ACCESS_TOKEN, "")
    if token and token != values.get(ACCESS_TOKEN, ""):
        yield warn(
            "environment",
            "an access_token of this environment is not the one in .env; we do not use it, but a"
            " program that reads os.environ, load_dotenv() included, does",
            "unset access_token; read it with get_current_token() instead.",
        )


def _outranks(key: str, values: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    """Whether a variable differs from what the file has under this name, or its other names."""
    names = next((keys for keys in _CREDENTIALS if key in keys), (key,))
    in_file = [values[name].strip() for name in names if values.get(name, "").strip()]
    found = environ[key].strip()
    return key.startswith("UPSTOX_") and bool(found and in_file) and found not in in_file
