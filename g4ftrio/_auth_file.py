"""Where a provider's login is kept until the next run: a file for the user alone, whole or not there at all.

It is ``{"g4ftrio": 1, "auth": {...}}``: the login's attributes under a mark of ours. Beside the file stand ``.lock``,
which stays (to delete a lock is to break it), and ``.new`` while somebody writes. Only who holds the lock writes or
deletes. Reading needs no lock, because a new login takes the old one's place in a single step.

A lost login costs the user a new one and must never cost an answer: what goes wrong here is logged, not raised.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import isfinite
from pathlib import Path

from g4ftrio._words.chunks import AuthResult
from g4ftrio._words.secrets import Secret

__all__ = ("AuthFile", "cache_folder")

_VERSION = 1
_MAX_SIZE = 1 << 20  # bytes
_MAX_DEPTH = 100  # lists and dicts inside each other
_WAIT = 5.0  # seconds for the lock, which others hold for some milliseconds
_POLL = 0.01  # seconds between two tries
_PLAIN = (type(None), bool, int, float, str, Secret, list, tuple, dict)

_log = logging.getLogger("g4ftrio")


def cache_folder() -> Path:
    """The library's own folder: ``$G4FTRIO_CACHE_DIR``, else one in the platform's place for a user's caches."""
    named = os.environ.get("G4FTRIO_CACHE_DIR")
    if named:
        return Path(os.path.expanduser(named))  # noqa: PTH111  # Path's raises where there is no such home
    from platformdirs import user_cache_path

    return user_cache_path("g4ftrio", appauthor=False)


class AuthFile:
    """One provider's stored login. Its methods block: call them in a worker thread."""

    __slots__ = ("_lock", "_new", "path")

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = self.path.with_name(f"{self.path.name}.lock")
        self._new = self.path.with_name(f"{self.path.name}.new")

    def read(self) -> AuthResult | None:
        """The login, or None; a file that is torn, not ours or open to other users is dropped."""
        with self._forgiving("read"):
            try:
                return _load(self.path)
            except _UnusableError:
                return self._read_or_drop()
        return None

    def write(self, auth: AuthResult) -> None:
        """Keep a login; tuples come back as lists, and what JSON cannot hold is not kept."""
        with self._forgiving("written"):
            data = _encode(auth)
            _make_private(self.path.parent)
            with self._locked():
                self._replace(data)

    def drop(self, *, if_unchanged: AuthResult | None = None) -> None:
        """Delete the login.

        :param if_unchanged: the login to get rid of; another, which somebody has written since then, stays
        """
        with self._forgiving("dropped"):
            if not any(map(os.path.lexists, (self.path, self._new))):
                return
            with self._locked():
                if if_unchanged is None or self._holds(if_unchanged):
                    self.path.unlink(missing_ok=True)

    def _read_or_drop(self) -> AuthResult | None:
        with self._locked():
            try:
                return _load(self.path)  # somebody may have renewed it by now
            except _UnusableError as reason:
                self.path.unlink()
                _log.warning("%s was dropped: %s", self.path, reason)
                return None

    def _holds(self, auth: AuthResult) -> bool:
        try:
            stored, given = _load(self.path), _decode(_encode(auth))
        except _UnusableError:  # of the two, one is no login and the other was never kept
            return False
        return stored is not None and vars(stored) == vars(given)

    def _replace(self, data: bytes) -> None:
        with open(self._new, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._new.replace(self.path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock

        with FileLock(self._lock, mode=0o600).acquire(timeout=_WAIT, poll_interval=_POLL):
            self._new.unlink(missing_ok=True)  # a writer that was killed has left it
            try:
                yield
            finally:
                self._new.unlink(missing_ok=True)

    @contextmanager
    def _forgiving(self, done: str) -> Iterator[None]:
        """Log what fails, a lock that others hold for too long included, and go on without the stored login."""
        try:
            yield
        except (OSError, RuntimeError, _UnusableError) as error:  # filelock's RuntimeErrors: no flock here, say
            _log.warning("%s was not %s: %s", self.path, done, getattr(error, "strerror", None) or error)


class _UnusableError(Exception):
    """No login of ours, or none that can be kept; the message says why, and shows no value."""


def _load(path: Path) -> AuthResult | None:
    """Read a login, or None where there is no file.

    :raises _UnusableError: if we have not written it, or others might have
    """
    try:
        _check(path.lstat())  # before it is opened, because opening may wait or fail...
        with open(path, "rb", opener=_open_unlinked) as file:
            _check(os.fstat(file.fileno()))  # ...and afterwards, because it may be another file by now
            return _decode(file.read(_MAX_SIZE + 1))
    except FileNotFoundError:
        return None


def _open_unlinked(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _check(status: os.stat_result) -> None:
    """Make sure that it is a file that only this user can have written."""
    if not stat.S_ISREG(status.st_mode):
        raise _UnusableError("it is not a regular file")
    if not _is_ours(status):
        raise _UnusableError("it belongs to another user")
    if _is_open_to_others(status):
        raise _UnusableError(f"it is open to other users (mode {stat.S_IMODE(status.st_mode):04o})")
    if status.st_size > _MAX_SIZE:
        raise _UnusableError("it is larger than 1 MiB")


def _is_ours(status: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _is_open_to_others(status: os.stat_result) -> bool:
    return hasattr(os, "geteuid") and bool(status.st_mode & 0o077)  # Windows makes up the modes that it reports


def _make_private(folder: Path) -> None:
    """Create a folder, and what is missing above it, for the user alone; close the library's own to others."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(0o700, exist_ok=True)
    if folder == cache_folder():
        _close_to_others(folder)


def _close_to_others(folder: Path) -> None:
    status = folder.stat()
    shared = status.st_mode & stat.S_ISVTX  # /tmp, say, which root must not take from everybody
    if _is_ours(status) and _is_open_to_others(status) and not shared:
        folder.chmod(0o700)
        _log.info("%s is closed to other users from now on, because it holds logins", folder)


def _decode(data: bytes) -> AuthResult:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise _UnusableError("it is torn, or not JSON") from None
    match found:
        case {"g4ftrio": 1, "auth": dict(attributes)} if all(map(str.isidentifier, attributes)):
            return AuthResult(**attributes)
        case {"g4ftrio": _}:
            raise _UnusableError("it is of another version or form")
    raise _UnusableError("it was not written by g4ftrio")


def _encode(auth: AuthResult) -> bytes:
    for name, value in vars(auth).items():
        if not name.isidentifier():
            raise _UnusableError("the name of an attribute is not an identifier")
        if refused := _refused(value):
            raise _UnusableError(f"the attribute {name} holds what JSON cannot: {refused}")
    try:
        data = json.dumps({"g4ftrio": _VERSION, "auth": vars(auth)}).encode()
    except ValueError:
        raise _UnusableError("a number in it has too many digits") from None  # sys.get_int_max_str_digits()
    if len(data) > _MAX_SIZE:
        raise _UnusableError("it is larger than 1 MiB")
    return data


def _refused(value: object, depth: int = _MAX_DEPTH) -> str:
    """The type of what would not come back from JSON as it was; empty if all would."""
    if type(value) not in _PLAIN:
        return type(value).__name__
    match value:
        case float() if not isfinite(value):
            return "float that is not finite"
        case dict() if not all(type(key) is str for key in value):
            return "dict with keys that are not str"
        case dict():
            inside = [*value.values()]
        case list() | tuple():
            inside = [*value]
        case _:
            return ""
    if depth == 0:
        return f"more than {_MAX_DEPTH} levels"
    return next(filter(None, (_refused(each, depth - 1) for each in inside)), "")
