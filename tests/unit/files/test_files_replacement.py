"""What a replaced file keeps, and what stays when it cannot be replaced."""

import os
import stat
import struct
import subprocess

import pytest

from broker_tokens.durable_file import Replacement, recover
from broker_tokens.errors import EXIT_CONFIGURATION, EXIT_TEMPORARY, StoreError
from broker_tokens.file_names import temporary_path

OLD, NEW = b"A=1\naccess_token=old\n", b"A=1\naccess_token=new\n"


@pytest.fixture
def env_file(open_folder):
    """A `.env` with the old content."""
    path = open_folder / ".env"
    path.write_bytes(OLD)
    return path


def replace(path, content=NEW):
    with Replacement(str(path)) as replacement:
        replacement.prepare(len(content))
        replacement.commit(content)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o660, 0o604])
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_mode_is_kept(env_file, mode, umask):
    """The new file has the old one's mode, whatever the umask."""
    env_file.chmod(mode)
    before = os.umask(umask)
    try:
        replace(env_file)
    finally:
        os.umask(before)

    assert stat.S_IMODE(env_file.stat().st_mode) == mode
    assert env_file.read_bytes() == NEW


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_new_file_is_private(open_folder, umask):
    """A file that was not there is 0600, whatever the umask."""
    before = os.umask(umask)
    try:
        replace(open_folder / "state")
    finally:
        os.umask(before)

    assert stat.S_IMODE((open_folder / "state").stat().st_mode) == 0o600


def test_the_temporary_file_is_private_from_birth(env_file):
    """Beside a file that all may read, the temporary file is 0600 as long as it is one."""
    env_file.chmod(0o666)
    before = os.umask(0)
    try:
        with Replacement(str(env_file)) as replacement:
            replacement.prepare()
            mode = os.stat(temporary_path(str(env_file))).st_mode
    finally:
        os.umask(before)

    assert stat.S_IMODE(mode) == 0o600
    assert _names(env_file) == {".env"}


@pytest.mark.parametrize(("owner", "group"), [(65534, 65534), (1234, 0), (0, 4321)])
def test_owner_is_kept_by_root(env_file, needs_root, owner, group):
    """A service run by root leaves the trader's file the trader's."""
    os.chown(env_file, owner, group)
    replace(env_file)

    found = env_file.stat()
    assert (found.st_uid, found.st_gid) == (owner, group)


def test_a_file_of_another_owner_is_rewritten_in_place(env_file, needs_root, run_as_nobody):
    """Who may write a file and not give it away rewrites it: same inode, owner and mode."""
    env_file.chmod(0o666)
    before = env_file.stat()

    assert run_as_nobody("write(sys.argv[1], sys.argv[2].encode())", env_file, NEW.decode()) == (
        run_as_nobody("pass")
    )
    after = env_file.stat()
    assert (after.st_ino, after.st_uid, after.st_mode) == (
        before.st_ino,
        before.st_uid,
        before.st_mode,
    )
    assert env_file.read_bytes() == NEW
    assert _names(env_file) == {".env"}


def test_metadata_is_that_of_the_moment_of_the_write(env_file):
    """A mode changed while the broker was being asked is kept as well."""
    env_file.chmod(0o600)
    with Replacement(str(env_file)) as replacement:
        replacement.prepare()
        env_file.chmod(0o640)
        replacement.commit(NEW)

    assert stat.S_IMODE(env_file.stat().st_mode) == 0o640


_OWNER, _NAMED, _GROUP, _MASK, _OTHER, _NO_ID = 1, 2, 4, 16, 32, 0xFFFFFFFF


def _acl(named_rights=4):
    rows = [(_OWNER, 6, _NO_ID), (_NAMED, named_rights, 1234), (_GROUP, 0, _NO_ID)]
    rows += [(_MASK, 4, _NO_ID), (_OTHER, 0, _NO_ID)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)


def _set_attribute(path, name, value):
    try:
        os.setxattr(path, name, value)
    except (OSError, AttributeError):
        pytest.skip(f"this file system has no {name}")


def test_acl_and_attributes_are_kept(env_file):
    """An account that an ACL lets read the token may still read the next one."""
    _set_attribute(env_file, "user.note", b"mine")
    _set_attribute(env_file, "system.posix_acl_access", _acl())
    mode = env_file.stat().st_mode
    replace(env_file)

    assert os.getxattr(env_file, "user.note") == b"mine"
    assert os.getxattr(env_file, "system.posix_acl_access") == _acl()
    assert env_file.stat().st_mode == mode


def test_an_acl_of_the_folder_grants_nothing_new(env_file):
    """A default ACL of the folder does not open a file that had no ACL of its own."""
    env_file.chmod(0o640)
    _set_attribute(env_file.parent, "system.posix_acl_default", _acl())
    replace(env_file)

    assert "system.posix_acl_access" not in os.listxattr(env_file)
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o640


def test_a_hard_read_is_old_or_new(env_file):
    """Who has the old file open goes on reading the old content, whole."""
    with env_file.open("rb") as reader:
        replace(env_file)

        assert reader.read() == OLD
    assert env_file.read_bytes() == NEW


def test_a_users_own_copies_are_left_alone(env_file):
    """`.env.new`, `.env.backup` and the like are the user's: never read back, never removed."""
    copies = {f".env{end}": end.encode() for end in (".new", ".backup", ".bak", ".tmp", "~")}
    for name, content in copies.items():
        (env_file.parent / name).write_bytes(content)
    recover(str(env_file))
    replace(env_file)

    assert env_file.read_bytes() == NEW
    assert {name: (env_file.parent / name).read_bytes() for name in copies} == copies


def test_preparing_twice_leaves_nothing_open(env_file):
    """A second proof of writability gives the first one's file back."""
    with Replacement(str(env_file)) as replacement:
        replacement.prepare()
        count = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
        replacement.prepare()
        again = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None

    assert count == again
    assert _names(env_file) == {".env"}


def test_a_failure_of_the_caller_leaves_no_temporary_file(env_file):
    """Whatever goes wrong between proof and write, the temporary file is gone."""

    def fail():
        with Replacement(str(env_file)) as replacement:
            replacement.prepare()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert _names(env_file) == {".env"}
    assert env_file.read_bytes() == OLD


WRITE = "write(sys.argv[1], b'A=1\\naccess_token=new\\n')"


def test_a_read_only_file_is_an_error(env_file, run_as_nobody, give_to_nobody):
    """A file without the right to write is refused, though a rename would have worked."""
    give_to_nobody(env_file)
    env_file.chmod(0o444)
    ending = run_as_nobody(WRITE, env_file)

    assert ending.exit_code == EXIT_CONFIGURATION
    assert str(env_file) in ending.message
    assert env_file.read_bytes() == OLD
    assert _names(env_file) == {".env"}


def test_a_read_only_folder_is_an_error(env_file, run_as_nobody, give_to_nobody):
    """A folder in which nothing can be made is refused before anything is changed."""
    give_to_nobody(env_file)
    env_file.parent.chmod(0o555)
    ending = run_as_nobody(WRITE, env_file)

    assert ending.exit_code == EXIT_CONFIGURATION
    assert "folder" in ending.message
    assert env_file.read_bytes() == OLD


def test_a_folder_that_cannot_be_listed_is_enough(env_file, run_as_nobody, give_to_nobody):
    """A folder that may be written and entered but not opened serves: only its fsync is missing."""
    give_to_nobody(env_file)
    env_file.parent.chmod(0o333)
    ending = run_as_nobody(WRITE, env_file)

    assert ending.exit_code == 0, ending.message
    assert env_file.read_bytes() == NEW


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_is_an_error(open_folder, kind):
    """A folder or a pipe in the file's place is named as such and not replaced."""
    path = open_folder / ".env"
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    with pytest.raises(StoreError, match="regular file") as caught:
        replace(path)

    assert caught.value.exit_code == EXIT_CONFIGURATION
    assert not path.is_file()


def test_a_size_limit_is_an_error_of_the_setup(env_file, scripts):
    """`ulimit -f` is no full disk: waiting does not help, so it is 78, and the limit is named."""
    body = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n" + WRITE
    ending = scripts.run(body, env_file, stdout=subprocess.PIPE)

    assert ending.exit_code == EXIT_CONFIGURATION
    assert "ulimit -f" in ending.message
    assert env_file.read_bytes() == OLD
    assert _names(env_file) == {".env"}


def _on_small_disk(mount_wrapper, folder, size):
    return mount_wrapper(
        f"mount -t tmpfs -o size={size} none {folder}; "
        f"printf 'A=1\\naccess_token=old\\n' > {folder}/.env"
    )


def test_a_full_disk_is_temporary(open_folder, scripts, mount_wrapper):
    """On a full disk the proof fails with 75, nothing is left over and the old content stays."""
    body = """
path = sys.argv[1] + "/.env"
with open(sys.argv[1] + "/filler", "wb", buffering=0) as filler:
    try:
        while True: filler.write(b"x" * 4096)
    except OSError: pass
try: write(path, b"access_token=new")
finally:
    assert open(path, "rb").read() == b"A=1\\naccess_token=old\\n"
    assert sorted(os.listdir(sys.argv[1])) == [".env", "filler"]
"""
    wrapper = _on_small_disk(mount_wrapper, open_folder, "64k")
    ending = scripts.run(body, open_folder, wrapper=wrapper)

    assert ending.exit_code == EXIT_TEMPORARY
    assert "room" in ending.message


def test_what_was_reserved_is_there_when_the_disk_fills_up(open_folder, scripts, mount_wrapper):
    """Once the file was proven writable, a disk that fills up does not lose the tokens."""
    body = """
path, folder = sys.argv[1] + "/.env", sys.argv[1]
with TokenStore(path).writing() as writer:
    writer.prove_writable()
    with open(folder + "/filler", "wb", buffering=0) as filler:
        try:
            while True: filler.write(b"x" * 4096)
        except OSError: pass
    writer.save_tokens({"access_token": "n" * 4000, "UPSTOX_REFRESH_TOKEN": "r" * 4000}, State())
tokens = TokenStore(path).load().tokens
assert tokens.access_token.reveal() == "n" * 4000
assert tokens.refresh_token.reveal() == "r" * 4000
"""
    wrapper = _on_small_disk(mount_wrapper, open_folder, "256k")

    assert scripts.run(body, open_folder, wrapper=wrapper).exit_code == 0


@pytest.mark.parametrize("content", ["access_token=" + "long" * 99 + "\n", "A=1\n"])
def test_a_bind_mounted_file_is_rewritten_in_place(open_folder, scripts, mount_wrapper, content):
    """Docker's `-v .env:/app/.env`: the rename fails with EBUSY, the mounted file is written."""
    source = open_folder / "source"
    source.write_bytes(OLD)
    target = open_folder / "app"
    target.mkdir()
    (target / ".env").touch()
    body = """
path, content = sys.argv[1], sys.argv[2].encode()
try: os.replace(path, path + ".moved")
except OSError as error: assert error.errno == errno.EBUSY
else: raise AssertionError("the file is not mounted")
write(path, content)
assert open(path, "rb").read() == content
assert os.listdir(os.path.dirname(path)) == [".env"]
"""
    inode = source.stat().st_ino
    wrapper = mount_wrapper(f"mount --bind {source} {target}/.env")
    ending = scripts.run(body, target / ".env", content, wrapper=wrapper)

    assert ending.exit_code == 0, ending.message
    assert source.read_text() == content
    assert source.stat().st_ino == inode


def test_a_rewrite_in_place_needs_its_room_first(open_folder, scripts, mount_wrapper):
    """If a mounted file cannot grow, its old content is still there, and nothing is beside it."""
    body = """
folder = sys.argv[1] + "/small"
with open(folder + "/filler", "wb", buffering=0) as filler:
    try:
        while True: filler.write(b"x" * 4096)
    except OSError: pass
path = sys.argv[1] + "/.env"
try: write(path, b"n" * 9000)
finally:
    assert open(path, "rb").read() == b"A=1\\naccess_token=old\\n"
    assert sorted(os.listdir(sys.argv[1])) == [".env", "small"]
"""
    (open_folder / "small").mkdir()
    (open_folder / ".env").touch()
    mounts = (
        f"mount -t tmpfs -o size=64k none {open_folder}/small; "
        f"printf 'A=1\\naccess_token=old\\n' > {open_folder}/small/e; "
        f"mount --bind {open_folder}/small/e {open_folder}/.env"
    )
    ending = scripts.run(body, open_folder, wrapper=mount_wrapper(mounts))

    assert ending.exit_code == EXIT_TEMPORARY


def test_a_read_only_mount_is_named(open_folder, scripts, mount_wrapper):
    """On a read-only file system the error says so, instead of talking about rights."""
    (open_folder / ".env").write_bytes(OLD)
    mounts = f"mount --bind {open_folder} {open_folder}; mount -o remount,ro,bind {open_folder}"
    ending = scripts.run(WRITE, open_folder / ".env", wrapper=mount_wrapper(mounts))

    assert ending.exit_code == EXIT_CONFIGURATION
    assert "Read-only" in ending.message
    assert (open_folder / ".env").read_bytes() == OLD


def _names(path):
    return set(os.listdir(path.parent))
