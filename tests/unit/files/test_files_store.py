"""The `.env` and its state as one store."""

import base64
import json
import logging
import os
from datetime import UTC, datetime, timedelta

import pytest

from broker_tokens.clock import IST
from broker_tokens.errors import EXIT_CONFIGURATION, StoreError, TemporaryFailure
from broker_tokens.model import Failure, Renewal, State, Way
from broker_tokens.secrets import Secret
from broker_tokens.state_file import load_state, save_state
from broker_tokens.store import TokenStore, format_expiry, read_tokens

log = logging.getLogger(__name__)

EXPIRY = datetime(2026, 11, 21, 3, 30, tzinfo=IST)
LATER = EXPIRY + timedelta(days=1)


@pytest.fixture
def env_file(tmp_path):
    """A `.env` with a comment and no token."""
    path = tmp_path / ".env"
    path.write_text("# mine\naccess_token=\n")
    return path


def jwt(exp, **claims):
    payload = json.dumps({"exp": exp.timestamp(), **claims}).encode()
    return "e30." + base64.urlsafe_b64encode(payload).decode().rstrip("=") + ".c2ln"


def full_state():
    """Return a state with every field set."""
    return State(
        written={"aabbccdd": EXPIRY, "eeff0011": LATER},
        refused=("11111111",),
        spent_codes=("22222222",),
        failures=3,
        retry_at=EXPIRY,
        told=LATER,
        last_renewal=Renewal(EXPIRY, Way.BROWSER_LOGIN),
        last_failure=Failure(LATER, "503 Service Unavailable"),
    )


def test_the_state_survives_a_restart(env_file):
    """Every field of the state is read back as it was saved."""
    with TokenStore(str(env_file)).writing() as writer:
        writer.save_state(full_state())

    assert TokenStore(str(env_file)).load().state == full_state()
    assert os.stat(f"{env_file}.state.json").st_mode & 0o777 == 0o600


DAMAGED = {
    "empty": b"",
    "cut off": b'{"format": 1, "writ',
    "zeros": b"\0" * 300,
    "not UTF-8": b"\xff\xfe\xfa",
    "another format": b'{"format": 2}',
    "no format": b"{}",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "deep": b"[" * 200_000,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_state_is_a_fresh_one(env_file, content):
    """A state that cannot be understood is forgotten, as it holds no token; the next is saved."""
    state_file = env_file.with_name(".env.state.json")
    state_file.write_bytes(content)

    assert TokenStore(str(env_file)).load().state == State()
    with TokenStore(str(env_file)).writing() as writer:
        writer.save_state(full_state())
    assert load_state(str(state_file)) == full_state()


WRONG = {
    "written": [1, {"a": 1}, {"a": "soon"}, {"a": "2026-11-21T03:30:00"}, None, "x"],
    "refused": [5, None],
    "spent_codes": [5, None],
    "failures": ["many", None, [], float("inf"), float("nan")],
    "retry_at": [5, "soon", "2026-11-21T03:30:00", []],
    "told": [5, "soon", {}],
    "last_renewal": [
        *("x", {}, 5, {"at": "x", "way": "paste"}),
        {"at": "2026-11-21T03:30:00+05:30", "way": "by pigeon"},
    ],
    "last_failure": [{"at": None, "what": "y"}, [1]],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in WRONG.items() for v in vs])
def test_a_damaged_field_is_a_fresh_state(tmp_path, key, value):
    """One field of another kind makes the whole state unknown, never an exception."""
    path = str(tmp_path / "state")
    save_state(path, full_state(), owned_like=str(tmp_path), durable=False)
    saved = json.loads((tmp_path / "state").read_text())
    (tmp_path / "state").write_text(json.dumps({**saved, key: value}))

    assert load_state(path) == State()


def test_an_unreadable_state_is_an_error(env_file, run_as_nobody, give_to_nobody, open_folder):
    """A state that is there and cannot be read is an error: it says what must not be repeated."""
    path = open_folder / ".env"
    path.write_text("access_token=\n")
    state_file = open_folder / ".env.state.json"
    state_file.write_text("{}")
    for each in (path, state_file):
        give_to_nobody(each)
    state_file.chmod(0)
    ending = run_as_nobody("TokenStore(sys.argv[1]).load()", path)

    assert ending.exit_code == EXIT_CONFIGURATION
    assert str(state_file) in ending.message


def test_an_unreadable_env_is_an_error(open_folder, run_as_nobody, give_to_nobody):
    """A `.env` that cannot be read is an error, to readers and writers, and stays as it is."""
    path = open_folder / ".env"
    path.write_text("access_token=old\n")
    give_to_nobody(path)
    path.chmod(0)
    reading = run_as_nobody("TokenStore(sys.argv[1]).load()", path)
    writing = run_as_nobody("save(sys.argv[1], access_token='new')", path)

    assert reading.exit_code == writing.exit_code == EXIT_CONFIGURATION
    assert str(path) in reading.message
    path.chmod(0o600)
    assert path.read_text() == "access_token=old\n"


def test_a_missing_env_is_an_error(tmp_path):
    """A `.env` that is not there is an error about its path, and nothing is made beside it."""
    store = TokenStore(str(tmp_path / ".env"))
    with pytest.raises(StoreError, match="Check the path") as caught:
        store.load()
    with pytest.raises(StoreError, match="Check the path"), store.writing():
        pass

    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert list(tmp_path.iterdir()) == []


def test_proving_changes_nothing(env_file):
    """The proof of writability leaves the `.env` byte for byte, and no file but lock and state."""
    before = env_file.read_bytes()
    with TokenStore(str(env_file)).writing() as writer:
        writer.prove_writable()
        assert env_file.read_bytes() == before

    assert env_file.read_bytes() == before
    names = {path.name for path in env_file.parent.iterdir()}
    assert names == {".env", ".env.lock", ".env.state.json"}


def test_a_swallowing_line_fails_the_proof(env_file):
    """A broken line is found before a code is spent, not after."""
    env_file.write_text("A='oops\naccess_token=old\nB='x'\n")
    with TokenStore(str(env_file)).writing() as writer, pytest.raises(StoreError, match="line 1"):
        writer.prove_writable()

    assert env_file.read_text() == "A='oops\naccess_token=old\nB='x'\n"


def test_a_line_changed_meanwhile_is_kept(env_file):
    """What a person saved while the broker was being asked is in the new file."""
    with TokenStore(str(env_file)).writing() as writer:
        writer.prove_writable()
        env_file.write_text("# theirs\naccess_token=\nNEW_KEY=1\n")
        writer.save_tokens({"access_token": "new"}, State())

    assert env_file.read_text() == "# theirs\naccess_token=new\nNEW_KEY=1\n"


def test_a_link_and_its_target_share_one_lock(env_file, tmp_path):
    """Who uses the file by a link and who uses it by name exclude each other."""
    folder = tmp_path / "strategy"
    folder.mkdir()
    (folder / ".env").symlink_to(env_file)
    linked = TokenStore(str(folder / ".env"), lock_timeout=timedelta(0), pause=lambda _: None)
    with (
        TokenStore(str(env_file)).writing(),
        pytest.raises(TemporaryFailure),
        linked.writing(),
    ):
        pass

    assert os.listdir(folder) == [".env"]


def test_a_link_is_kept_and_its_target_replaced(env_file, tmp_path):
    """A write by a link changes the target; the link stays one, relative as it was."""
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / ".env"
    link.symlink_to("../.env")
    with TokenStore(str(link)).writing() as writer:
        writer.save_tokens({"access_token": "new"}, State())

    assert os.readlink(link) == "../.env"
    assert env_file.read_text() == "# mine\naccess_token=new\n"


def test_a_link_switched_meanwhile_is_not_followed(env_file, tmp_path):
    """A writer reads and writes the one file it has locked, wherever the link points by now."""
    other = tmp_path / "other"
    other.write_text("access_token=other\n")
    link = tmp_path / "link"
    link.symlink_to(env_file)
    with TokenStore(str(link)).writing() as writer:
        link.unlink()
        link.symlink_to(other)
        assert writer.load().values["access_token"] == ""
        writer.save_tokens({"access_token": "new"}, full_state())

    assert env_file.read_text() == "# mine\naccess_token=new\n"
    assert other.read_text() == "access_token=other\n"
    assert not (tmp_path / "other.state.json").exists()


def test_tokens_change_in_one_replace(scripts, open_folder):
    """A reader in a tight loop sees no token with another one's expiry, state or refresh token."""
    body = """
path = sys.argv[1]
from datetime import UTC, datetime, timedelta
from broker_tokens.secrets import Secret
from broker_tokens.store import format_expiry
def at(n): return datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=n)
pid = os.fork()
if pid == 0:
    state = State()
    for n in range(1, 301):
        with TokenStore(path).writing() as writer:
            state = state.with_written(Secret(f"token-{n:04}"), at(n))
            writer.save_tokens({"access_token": f"token-{n:04}",
                "UPSTOX_REFRESH_TOKEN": f"refresh-{n:04}",
                "UPSTOX_TOKEN_EXPIRES_AT": format_expiry(at(n))}, state)
    os._exit(0)
reads, seen = 0, set()
while 300 not in seen:
    content = open(path, "rb").read().decode()
    lines = dict(line.split("=", 1) for line in content.splitlines() if "=" in line)
    n = int(lines["access_token"][6:] or 0)
    if n:
        assert lines["UPSTOX_REFRESH_TOKEN"] == f"refresh-{n:04}", content
        assert lines["UPSTOX_TOKEN_EXPIRES_AT"] == format_expiry(at(n)), content
        known = json.load(open(path + ".state.json"))["written"]
        if open(path, "rb").read().decode() == content:  # else the state may be of two later
            assert Secret(lines["access_token"]).fingerprint in known, (n, known)
    reads += 1
    seen.add(n)
os.waitpid(pid, 0)
print(json.dumps([reads, len(seen)]))
"""
    (open_folder / ".env").write_text("# c\naccess_token=\n")
    process = scripts.start(body, open_folder / ".env")
    answer, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    reads, versions = json.loads(answer)
    log.info("%d reads met %d versions", reads, versions)
    assert reads > versions > 1


def test_tokens_are_saved_even_if_the_state_cannot_be(env_file):
    """A token that the broker has rotated is on disk although the state file is in the way."""
    env_file.with_name(".env.state.json").mkdir()
    with TokenStore(str(env_file)).writing() as writer, pytest.raises(StoreError):
        writer.save_tokens({"access_token": "new", "UPSTOX_REFRESH_TOKEN": "rotated"}, State())

    assert env_file.read_text() == "# mine\naccess_token=new\nUPSTOX_REFRESH_TOKEN=rotated\n"


def test_no_secret_in_the_state(env_file):
    """Whatever is saved, the state file holds no part of a token, even if a sentence quoted one."""
    access, refresh = Secret(jwt(EXPIRY)), Secret("planted-refresh-token")
    state = State(
        last_failure=Failure(EXPIRY, f"refused: {refresh.reveal()}"),
    ).with_written(access, EXPIRY)
    updates = {"access_token": access.reveal(), "UPSTOX_REFRESH_TOKEN": refresh.reveal()}
    with TokenStore(str(env_file)).writing() as writer:
        writer.save_tokens(updates, state)
    content = env_file.with_name(".env.state.json").read_text()

    assert access.fingerprint in content
    assert "planted" not in content
    assert not any(part in content for part in access.reveal().split("."))


def test_root_shares_the_state_with_the_trader(env_file, needs_root):
    """State and lock made by root belong to the owner of the `.env`."""
    os.chown(env_file, 1234, 4321)
    with TokenStore(str(env_file)).writing() as writer:
        writer.save_tokens({"access_token": "new"}, State())

    owners = {(p.stat().st_uid, p.stat().st_gid) for p in env_file.parent.iterdir()}
    assert owners == {(1234, 4321)}


OPAQUE, JWT = "opaque-token", jwt(EXPIRY)


def _written(token, at):
    return State().with_written(Secret(token), at)


RULES = {
    "ours": (OPAQUE, format_expiry(EXPIRY), _written(OPAQUE, EXPIRY), OPAQUE, EXPIRY),
    "ours, its expiry edited": (OPAQUE, "soon", _written(OPAQUE, EXPIRY), OPAQUE, EXPIRY),
    "another's beside a stale expiry": (OPAQUE, format_expiry(LATER), State(), OPAQUE, None),
    "another's JWT beside a stale expiry": (JWT, format_expiry(LATER), State(), JWT, EXPIRY),
    "another's, while we know ours": (
        OPAQUE,
        format_expiry(LATER),
        _written("x", LATER),
        OPAQUE,
        None,
    ),
    "our JWT, shortened by the broker": (
        JWT,
        None,
        _written(JWT, EXPIRY - timedelta(1)),
        JWT,
        EXPIRY - timedelta(1),
    ),
    "a JWT beside its own expiry": (JWT, format_expiry(EXPIRY), _written(JWT, LATER), JWT, EXPIRY),
    "a JWT without exp": ("e30.e30.c2ln", format_expiry(EXPIRY), State(), "e30.e30.c2ln", None),
    "refused": (OPAQUE, None, State(refused=(Secret(OPAQUE).fingerprint,)), None, None),
    "a refused JWT": (JWT, None, State(refused=(Secret(JWT).fingerprint,)), None, None),
    "blanks inside": ("op aque", None, State(), None, None),
    "not ASCII": ("op\u20b9que", None, State(), None, None),
    "invalid UTF-8": ("op\udcffque", None, State(), None, None),
    "empty": ("", format_expiry(EXPIRY), State(), None, None),
    "missing": (None, format_expiry(EXPIRY), State(), None, None),
}


@pytest.mark.parametrize(
    ("stored", "expiry", "state", "token", "expires_at"), RULES.values(), ids=RULES
)
def test_whose_token_it_is_and_when_it_dies(stored, expiry, state, token, expires_at):
    """The stored expiry counts for our token alone; a JWT tells by itself; no token, no expiry."""
    values = {"access_token": stored, "UPSTOX_TOKEN_EXPIRES_AT": expiry}
    tokens = read_tokens({k: v for k, v in values.items() if v is not None}, state)

    assert (tokens.access_token and tokens.access_token.reveal()) == token
    assert tokens.expires_at == expires_at


def test_expiries_are_written_in_ist():
    """`.env` holds the expiry as ISO 8601 with +05:30, whatever zone it came in."""
    assert format_expiry(EXPIRY.astimezone(UTC)) == "2026-11-21T03:30:00+05:30"
