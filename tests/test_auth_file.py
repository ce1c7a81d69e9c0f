from __future__ import annotations

import errno
import json
import logging
import math
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given, settings, strategies as st

from g4ftrio import _auth_file
from g4ftrio._auth_file import AuthFile, cache_folder
from g4ftrio._words.chunks import AuthResult

SECRET = "sk-9f2c-never-to-be-shown"
LOGIN = AuthResult(api_key=SECRET, cookies={"sid": SECRET}, expires=1.5)

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither these modes nor these files")


@pytest.fixture(autouse=True)
def never_shown(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test of this module may log the secret."""
    caplog.set_level(logging.DEBUG, "g4ftrio")
    yield
    assert not [record for record in caplog.get_records("call") if SECRET in record.getMessage() or record.exc_info]


@pytest.fixture
def file(tmp_path: Path) -> AuthFile:
    return AuthFile(tmp_path / "cache" / "auth_Some.json")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def put(file: AuthFile, data: bytes | str) -> None:
    """Write a file in the place of the login, with the right modes."""
    file.path.parent.mkdir(0o700, exist_ok=True)
    file.path.unlink(missing_ok=True)
    file.path.touch(0o600)
    file.path.write_bytes(data if isinstance(data, bytes) else data.encode())


def stored(**attributes: object) -> bytes:
    return json.dumps({"g4ftrio": 1, "auth": attributes}).encode()


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


# Where it is.


def test_the_folder_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"


def test_the_folder_may_be_named_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", "~/logins")
    assert cache_folder() == tmp_path / "logins"


def test_a_home_that_is_not_there_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", "~nobody-of-that-name/logins")
    assert cache_folder() == Path("~nobody-of-that-name/logins")


@pytest.mark.skipif(sys.platform != "linux", reason="each platform has its own place")
@pytest.mark.parametrize("named", [None, ""])
def test_the_folder_is_else_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str | None) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if named is not None:
        monkeypatch.setenv("G4FTRIO_CACHE_DIR", named)
    assert cache_folder() == tmp_path / "g4ftrio"


# What is kept.


def test_without_a_file_there_is_no_login_and_nothing_is_said(file: AuthFile, caplog: pytest.LogCaptureFixture) -> None:
    assert file.read() is None
    file.drop()
    file.drop(if_unchanged=LOGIN)
    assert not caplog.records
    assert not file.path.parent.exists()


def test_a_login_comes_back(file: AuthFile) -> None:
    file.write(LOGIN)
    found = file.read()
    assert isinstance(found, AuthResult)
    assert vars(found) == {"api_key": SECRET, "cookies": {"sid": SECRET}, "expires": 1.5}
    assert SECRET not in repr(found) + repr(file)
    assert json.loads(file.path.read_bytes()) == {"g4ftrio": 1, "auth": vars(LOGIN)}


def test_a_new_login_takes_the_old_ones_place(file: AuthFile) -> None:
    file.write(LOGIN)
    file.write(AuthResult(api_key="another"))
    found = file.read()
    assert found is not None
    assert vars(found) == {"api_key": "another"}
    assert names(file.path.parent) == {"auth_Some.json", "auth_Some.json.lock"}


def test_an_empty_login_is_a_login(file: AuthFile) -> None:
    file.write(AuthResult())
    assert isinstance(file.read(), AuthResult)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
attributes = st.dictionaries(st.text(min_size=1).filter(str.isidentifier), values, max_size=3)


@given(attributes)
@settings(max_examples=60, deadline=None)
def test_what_json_can_hold_comes_back_equal(tmp_path_factory: pytest.TempPathFactory, given: dict[str, Any]) -> None:
    file = AuthFile(tmp_path_factory.getbasetemp() / "any" / "auth.json")
    file.write(AuthResult(**given))
    found = file.read()
    assert found is not None
    assert repr(sorted(vars(found).items())) == repr(sorted(given.items()))


def test_lone_surrogates_and_long_integers_come_back(file: AuthFile) -> None:
    file.write(AuthResult(text="\ud800 é \x00", number=10**400))
    found = file.read()
    assert found is not None
    assert vars(found) == {"text": "\ud800 é \x00", "number": 10**400}


def test_tuples_come_back_as_lists(file: AuthFile) -> None:
    file.write(AuthResult(pair=("a", ("b",)), named={"x": (1, 2)}))
    found = file.read()
    assert found is not None
    assert vars(found) == {"pair": ["a", ["b"]], "named": {"x": [1, 2]}}


class Level(IntEnum):
    HIGH = 1


def nested(levels: int) -> list[Any]:
    outer: list[Any] = []
    for _ in range(levels):
        outer = [outer]
    return outer


circle: list[Any] = []
circle += [circle, circle]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (SECRET.encode(), "bytes"),
        (SimpleCookie({"sid": SECRET}), "SimpleCookie"),
        (AuthResult(key=SECRET), "AuthResult"),
        ([{"deep": {SECRET}}], "set"),
        (Level.HIGH, "Level"),
        (math.nan, "float that is not finite"),
        ([-math.inf], "float that is not finite"),
        ({1: SECRET}, "dict with keys that are not str"),
        (nested(101), "more than 100 levels"),
        (circle, "more than 100 levels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_json_cannot_hold_is_named_and_not_kept(
    file: AuthFile, caplog: pytest.LogCaptureFixture, value: object, said: str
) -> None:
    file.write(AuthResult(user="me", jar=value))
    assert caplog.messages == [f"{file.path} was not written: the attribute jar holds what JSON cannot: {said}"]
    assert not file.path.parent.exists()


@pytest.mark.parametrize(
    ("login", "said"),
    [
        (AuthResult(**{SECRET: 1}), "the name of an attribute is not an identifier"),
        (AuthResult(text="x" * (1 << 20)), "it is larger than 1 MiB"),
        (AuthResult(number=10**5000), "a number in it has too many digits"),
    ],
)
def test_a_login_that_could_not_be_read_again_is_not_kept(
    file: AuthFile, caplog: pytest.LogCaptureFixture, login: AuthResult, said: str
) -> None:
    file.write(LOGIN)
    file.write(login)
    assert caplog.messages == [f"{file.path} was not written: {said}"]
    assert vars(file.read() or AuthResult()) == vars(LOGIN)


# Who else may see it.


@posix_only
@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_the_file_is_for_the_user_alone_and_so_are_the_folders_made_for_it(tmp_path: Path, mask: int) -> None:
    file = AuthFile(tmp_path / "new" / "cache" / "auth.json")
    with umask(mask):
        file.write(LOGIN)
        file.write(LOGIN)
    assert [mode(each) for each in (tmp_path / "new", file.path.parent, file.path)] == [0o700, 0o700, 0o600]
    assert mode(file.path.with_name("auth.json.lock")) == 0o600


@posix_only
def test_no_other_user_can_open_it_while_it_is_written(file: AuthFile, monkeypatch: pytest.MonkeyPatch) -> None:
    os_open, fsync, seen = os.open, os.fsync, []

    def watched_open(path: str | Path, flags: int, mode: int = 0o777) -> int:
        descriptor = os_open(path, flags, mode)
        seen.append((Path(path).suffix, stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return descriptor

    def watched_fsync(descriptor: int) -> None:
        seen.append(("whole", os.fstat(descriptor).st_size == len(stored(key="a")) and not file.path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "open", watched_open)
    monkeypatch.setattr(os, "fsync", watched_fsync)
    with umask(0):
        file.write(AuthResult(key="a"))
    assert seen == [(".lock", 0o600), (".new", 0o600), ("whole", True)]
    assert mode(file.path) == 0o600


@posix_only
def test_the_librarys_own_folder_is_closed_to_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", str(tmp_path / "ours"))
    with umask(0):
        (tmp_path / "ours").mkdir(0o755)
    AuthFile(cache_folder() / "auth.json").write(LOGIN)
    assert mode(tmp_path / "ours") == 0o700


@posix_only
@pytest.mark.parametrize(("ours", "before"), [("elsewhere", 0o755), ("folder", 0o1777)])
def test_any_other_folder_and_one_that_all_share_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ours: str, before: int
) -> None:
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", str(tmp_path / ours))
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(before)
    AuthFile(folder / "auth.json").write(LOGIN)
    assert mode(folder) == before
    assert mode(folder / "auth.json") == 0o600


@posix_only
def test_the_folder_of_another_user_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", str(tmp_path / "folder"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(0o755)
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    AuthFile(tmp_path / "folder" / "auth.json").write(LOGIN)
    assert mode(tmp_path / "folder") == 0o755


# What is none of ours.


def test_a_file_torn_at_any_byte_is_dropped(file: AuthFile, caplog: pytest.LogCaptureFixture) -> None:
    whole = stored(api_key=SECRET)
    for cut in range(len(whole)):
        put(file, whole[:cut])
        assert file.read() is None
        assert not file.path.exists()
        assert caplog.messages.pop() == f"{file.path} was dropped: it is torn, or not JSON"
    put(file, whole)
    assert vars(file.read() or AuthResult()) == {"api_key": SECRET}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe" + SECRET.encode(), "it is torn, or not JSON"),
        (b"\x00" * 40, "it is torn, or not JSON"),
        (b"[" * 100_000, "it is torn, or not JSON"),
        ('{"g4ftrio": 1, "auth": {"n": ' + "1" * 5000 + "}}", "it is torn, or not JSON"),
        (f'"{SECRET}"', "it was not written by g4ftrio"),
        ("null", "it was not written by g4ftrio"),
        (f'[{{"g4ftrio": 1, "auth": {{"key": "{SECRET}"}}}}]', "it was not written by g4ftrio"),
        (f'{{"api_key": "{SECRET}"}}', "it was not written by g4ftrio"),
        ('{"g4ftrio": 2, "auth": {}}', "it is of another version or form"),
        ('{"g4ftrio": "1", "auth": {}}', "it is of another version or form"),
        ('{"g4ftrio": 1}', "it is of another version or form"),
        ('{"g4ftrio": 1, "auth": []}', "it is of another version or form"),
        (f'{{"g4ftrio": 1, "auth": {{"{SECRET}": 1}}}}', "it is of another version or form"),
        (stored(text="x" * (1 << 20)), "it is larger than 1 MiB"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_foreign_file_is_dropped(
    file: AuthFile, caplog: pytest.LogCaptureFixture, data: bytes | str, said: str
) -> None:
    put(file, data)
    assert file.read() is None
    assert caplog.messages == [f"{file.path} was dropped: {said}"]
    assert names(file.path.parent) == {"auth_Some.json.lock"}


@posix_only
@pytest.mark.parametrize("wide", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_file_that_others_may_have_read_or_written_is_dropped(
    file: AuthFile, caplog: pytest.LogCaptureFixture, wide: int
) -> None:
    file.write(LOGIN)
    file.path.chmod(wide)
    assert file.read() is None
    assert caplog.messages == [f"{file.path} was dropped: it is open to other users (mode 0{wide:o})"]
    assert not file.path.exists()


@posix_only
def test_the_file_of_another_user_is_dropped(
    file: AuthFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file.write(LOGIN)
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    assert file.read() is None
    assert caplog.messages == [f"{file.path} was dropped: it belongs to another user"]
    assert not file.path.exists()


@posix_only
def test_a_link_is_dropped_and_what_it_points_to_left_alone(
    file: AuthFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = AuthFile(tmp_path / "cache" / "other.json")
    other.write(LOGIN)
    file.path.symlink_to(other.path)
    assert file.read() is None
    assert caplog.messages == [f"{file.path} was dropped: it is not a regular file"]
    assert not file.path.is_symlink()
    assert other.read() is not None


@posix_only
def test_a_link_is_replaced_by_a_login_and_not_followed(file: AuthFile, tmp_path: Path) -> None:
    file.write(LOGIN)
    file.path.unlink()
    for each in (file.path, file.path.with_name("auth_Some.json.new")):
        each.symlink_to(tmp_path / "target")
    file.write(LOGIN)
    assert not (tmp_path / "target").exists()
    assert not file.path.is_symlink()
    assert vars(file.read() or AuthResult()) == vars(LOGIN)


@posix_only
def test_a_link_put_there_at_the_last_moment_is_not_followed(
    file: AuthFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file.write(LOGIN)
    check = _auth_file._check

    def swap(status: os.stat_result) -> None:
        check(status)
        if not file.path.is_symlink():
            file.path.rename(tmp_path / "moved")
            file.path.symlink_to(tmp_path / "moved")

    monkeypatch.setattr(_auth_file, "_check", swap)
    assert file.read() is None
    assert caplog.messages == [f"{file.path} was not read: {os.strerror(errno.ELOOP)}"]


@posix_only
def test_a_file_put_there_at_the_last_moment_is_looked_at_again(
    file: AuthFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file.write(LOGIN)
    check = _auth_file._check

    def swap(status: os.stat_result) -> None:
        check(status)
        file.path.unlink()
        file.path.write_bytes(stored(key="of a stranger"))
        file.path.chmod(0o666)

    monkeypatch.setattr(_auth_file, "_check", swap)
    assert file.read() is None
    assert caplog.messages == [f"{file.path} was dropped: it is open to other users (mode 0666)"]


@posix_only
def test_a_pipe_is_dropped_and_not_waited_for(file: AuthFile) -> None:
    file.path.parent.mkdir(0o700)
    os.mkfifo(file.path, 0o600)
    assert file.read() is None
    assert not file.path.exists()


def test_a_folder_in_its_place_is_left_alone(file: AuthFile, caplog: pytest.LogCaptureFixture) -> None:
    file.path.mkdir(parents=True)
    assert file.read() is None
    file.write(LOGIN)
    file.drop()
    assert [message.split(": ")[0] for message in caplog.messages] == [
        f"{file.path} was not {done}" for done in ("read", "written", "dropped")
    ]
    assert names(file.path.parent) == {"auth_Some.json", "auth_Some.json.lock"}


# Getting rid of it.


def test_a_login_is_dropped_with_what_a_killed_writer_left(file: AuthFile) -> None:
    file.write(LOGIN)
    file.path.with_name("auth_Some.json.new").write_bytes(stored(api_key=SECRET))
    file.drop()
    assert names(file.path.parent) == {"auth_Some.json.lock"}
    file.path.with_name("auth_Some.json.new").write_bytes(stored(api_key=SECRET))
    file.drop()
    assert names(file.path.parent) == {"auth_Some.json.lock"}


@pytest.mark.parametrize(
    ("bad", "dropped"),
    [
        (AuthResult(key="old", scopes=["a"]), True),
        (AuthResult(scopes=("a",), key="old"), True),  # the order does not matter, nor that a tuple became a list
        (AuthResult(key="new", scopes=["a"]), False),
        (AuthResult(key="old"), False),
        (AuthResult(key="old", scopes=["a"], jar=SimpleCookie()), False),
    ],
)
def test_a_bad_login_is_dropped_only_if_it_is_still_the_one_there(
    file: AuthFile, caplog: pytest.LogCaptureFixture, bad: AuthResult, dropped: bool
) -> None:
    file.write(AuthResult(key="old", scopes=("a",)))
    file.drop(if_unchanged=bad)
    assert file.path.exists() is not dropped
    assert not caplog.records


@pytest.fixture
def renewed(file: AuthFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the lock gets it after another process has renewed the login."""
    acquire = FileLock.acquire

    def acquire_late(lock: FileLock, **options: Any) -> object:
        put(file, stored(key="new"))
        return acquire(lock, **options)

    monkeypatch.setattr(FileLock, "acquire", acquire_late)


@pytest.mark.usefixtures("renewed")
def test_a_login_renewed_while_one_waited_to_drop_the_old_stays(file: AuthFile) -> None:
    put(file, stored(key="old"))
    file.drop(if_unchanged=AuthResult(key="old"))
    assert vars(file.read() or AuthResult()) == {"key": "new"}


@pytest.mark.usefixtures("renewed")
def test_a_login_renewed_while_one_waited_to_drop_a_torn_file_is_read(
    file: AuthFile, caplog: pytest.LogCaptureFixture
) -> None:
    put(file, b"{")
    assert vars(file.read() or AuthResult()) == {"key": "new"}
    assert not caplog.records


def test_a_torn_file_is_not_the_login_to_be_rid_of(file: AuthFile) -> None:
    put(file, b"{")
    file.drop(if_unchanged=LOGIN)
    assert file.path.exists()  # the next read drops it, and says why
    file.drop()
    assert not file.path.exists()


# What goes wrong is logged, never raised.


def failing(number: int) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_costs_the_new_login_and_not_the_old(
    file: AuthFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    file.write(AuthResult(key="old"))
    monkeypatch.setattr(os, "fsync", failing(number))
    file.write(LOGIN)
    assert caplog.messages == [f"{file.path} was not written: {os.strerror(number)}"]
    assert vars(file.read() or AuthResult()) == {"key": "old"}
    assert names(file.path.parent) == {"auth_Some.json", "auth_Some.json.lock"}


def test_a_disk_that_cannot_be_written_to_is_lived_with(
    file: AuthFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(file, b"{")
    monkeypatch.setattr(os, "open", failing(errno.EROFS))
    assert file.read() is None
    file.write(LOGIN)
    file.drop()
    said = os.strerror(errno.EROFS)
    assert caplog.messages == [f"{file.path} was not {done}: {said}" for done in ("read", "written", "dropped")]


def test_a_folder_that_cannot_be_made_is_lived_with(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    file = AuthFile(tmp_path / "file" / "cache" / "auth.json")
    assert file.read() is None
    file.write(LOGIN)
    file.drop()
    said = os.strerror(errno.ENOTDIR)
    assert caplog.messages == [f"{file.path} was not read: {said}", f"{file.path} was not written: {said}"]


def test_a_system_without_locks_is_lived_with(
    file: AuthFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    file.write(LOGIN)
    assert caplog.messages == [f"{file.path} was not written: no flock here"]


def test_a_lock_that_others_hold_is_not_waited_for_without_end(
    file: AuthFile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_auth_file, "_WAIT", 0.02)
    file.write(AuthResult(key="old"))
    with FileLock(f"{file.path}.lock"):
        file.write(LOGIN)
        file.drop()
        assert vars(file.read() or AuthResult()) == {"key": "old"}  # which takes no lock
        put(file, b"{")
        assert file.read() is None
        assert file.path.exists()
    said = f"The file lock '{file.path}.lock' could not be acquired."
    assert caplog.messages == [f"{file.path} was not {done}: {said}" for done in ("written", "dropped", "read")]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_where_the_platform_has_no_modes_they_are_not_asked_for(
    file: AuthFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("geteuid", "O_NOFOLLOW"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setenv("G4FTRIO_CACHE_DIR", str(file.path.parent))
    file.write(LOGIN)
    file.path.chmod(0o666)  # as Windows says of any file
    assert vars(file.read() or AuthResult()) == vars(LOGIN)
    file.drop(if_unchanged=LOGIN)
    assert not file.path.exists()


# Several processes at once.

WORK = """if True:
    import sys, threading
    from g4ftrio._auth_file import AuthFile
    from g4ftrio._words.chunks import AuthResult

    file, name = AuthFile(sys.argv[1]), sys.argv[2]

    def text(owner, turn):
        return f"{owner}-{turn};" * 400

    def work(owner):
        seen = set()
        for turn in range(25):
            file.write(AuthResult(owner=owner, turn=turn, text=text(owner, turn)))
            found = file.read()
            if found is not None:
                assert found.text == text(found.owner, found.turn), "torn"
                seen.add(found.owner)
            if turn % 3 == 0:
                file.drop(if_unchanged=found)
            if turn % 7 == 0:
                file.drop()
        print(len(seen))

    threads = [threading.Thread(target=work, args=(f"{name}.{number}",)) for number in range(2)]
    for each in threads: each.start()
    for each in threads: each.join()
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_processes_of_two_threads_do_not_get_in_each_others_way(file: AuthFile) -> None:
    processes = [start(WORK, str(file.path), str(number)) for number in range(4)]
    said = [process.communicate() for process in processes]
    assert [errors for _, errors in said] == [""] * 4  # a warning would be here, too
    assert [len(out.split()) for out, _ in said] == [2] * 4
    assert names(file.path.parent) <= {"auth_Some.json", "auth_Some.json.lock"}
    assert file.read() is None or file.path.exists()


STUCK = """if True:
    import os, sys, time
    from g4ftrio._auth_file import AuthFile
    from g4ftrio._words.chunks import AuthResult

    def stuck(descriptor):
        os.truncate(descriptor, 100)
        print("writing", flush=True)
        time.sleep(600)

    os.fsync = stuck
    AuthFile(sys.argv[1]).write(AuthResult(key="new" * 1000))
"""


@posix_only
def test_a_writer_killed_halfway_leaves_the_old_login_and_nobody_waits_for_it(file: AuthFile) -> None:
    file.write(AuthResult(key="old"))
    with start(STUCK, str(file.path)) as process:
        assert process.stdout
        assert process.stdout.readline() == "writing\n"
        process.kill()
    assert names(file.path.parent) == {"auth_Some.json", "auth_Some.json.lock", "auth_Some.json.new"}
    assert vars(file.read() or AuthResult()) == {"key": "old"}
    file.write(AuthResult(key="next"))
    assert vars(file.read() or AuthResult()) == {"key": "next"}
    assert names(file.path.parent) == {"auth_Some.json", "auth_Some.json.lock"}


RESTLESS = """if True:
    import sys
    from g4ftrio._auth_file import AuthFile
    from g4ftrio._words.chunks import AuthResult

    turn = 0
    while True:
        AuthFile(sys.argv[1]).write(AuthResult(turn=turn, text=f"{turn};" * 20_000))
        turn += 1
        if turn == 2:
            print("writing", flush=True)
"""


@posix_only
def test_a_writer_killed_at_any_moment_leaves_a_whole_login(tmp_path: Path) -> None:
    files = [AuthFile(tmp_path / f"{number}.json") for number in range(3)]
    processes = [start(RESTLESS, str(file.path)) for file in files]
    for process, file in zip(processes, files, strict=True):
        with process:
            assert process.stdout
            assert process.stdout.readline() == "writing\n"
            time.sleep(random.uniform(0, 0.05))
            process.kill()
        found = file.read()
        assert found is not None
        assert vars(found)["text"] == f"{vars(found)['turn']};" * 20_000
        file.write(LOGIN)
        assert vars(file.read() or AuthResult()) == vars(LOGIN)
