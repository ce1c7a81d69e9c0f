"""Providers that log in, and remember it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from anyio import to_thread

from g4ftrio._auth_file import AuthFile, cache_folder
from g4ftrio._race.source import IteratorSource, Source
from g4ftrio._streams.sync import Backend, iterate_sync
from g4ftrio._words.chunks import AuthResult, Chunk, Notice
from g4ftrio._words.errors import AuthenticationError, MissingKeyError
from g4ftrio._words.messages import Messages
from g4ftrio.base_provider._abstract import AbstractProvider
from g4ftrio.base_provider._asynchronous import AsyncGeneratorProvider
from g4ftrio.base_provider._binding import creating, on_class_too
from g4ftrio.typing import AsyncResult

__all__ = ("AsyncAuthedProvider", "AuthFileMixin")


class AuthFileMixin(AbstractProvider):
    """A provider whose login is kept in a file of the user's.

    :ivar parent: the name of the provider whose file it shares, empty for one of its own
    """

    parent: str = ""

    @on_class_too
    def get_cache_file(self, /) -> Path:
        """Where the login is kept: ``auth_<parent or class name>.json``.

        The folder is the library's in the user's cache directory, or ``$G4FTRIO_CACHE_DIR``.
        """
        return cache_folder() / f"auth_{self.parent or type(self).__name__}.json"


class AsyncAuthedProvider(AsyncGeneratorProvider, AuthFileMixin):
    """A provider that logs in first: a subclass writes ``create_authed``, and ``on_auth_async`` where it takes no key.

    A login that was kept is tried first. Where there is none, or the service refuses it before it has answered
    anything, ``on_auth_async`` gives another, which is kept as soon as the first chunk has proved it good.
    """

    _by_generator: ClassVar[bool] = True  # also in front of a base that answers by itself
    _free_params: ClassVar[bool] = True

    @creating
    async def on_auth_async(self, /, *, api_key: str | None = None, **params: Any) -> AuthResult:  # noqa: ARG002  # a subclass's own
        """Log in: a coroutine that gives an ``AuthResult``, or a generator that gives chunks for the user and one.

        :raises MissingAuthError: there is no ``api_key``
        """
        key = api_key or self._own_key
        if not key:
            raise MissingKeyError(self.name)
        return AuthResult(api_key=key)

    @on_class_too
    def on_auth(self, /, *, backend: Backend = "trio", **params: Any) -> Iterator[Chunk]:
        """Log in from synchronous code: gives the chunks for the user, a link say, and the ``AuthResult``.

        :raises EventLoopRunningError: an event loop runs here
        """
        instead = f"await {type(self).__name__}.on_auth_async(...)"
        given = self._merged(params)
        return iterate_sync(lambda: _opened(self._log_in(given)), backend=backend, instead=instead)

    @creating
    def create_authed(
        self,
        /,
        model: str,
        messages: Messages,
        auth_result: AuthResult,
        **params: Any,
    ) -> AsyncResult:
        """Ask, logged in, and give chunks as they come; the one method that a subclass must write."""
        raise NotImplementedError(f"{type(self).__name__} has no create_authed")

    @on_class_too
    def write_cache_file(self, /, cache_file: Path | None = None, auth_result: AuthResult | None = None) -> None:
        """Keep a login, whole or not at all, readable by the user alone; without one, forget what was kept."""
        file = AuthFile(cache_file or self.get_cache_file())
        if auth_result is None:
            file.drop()
        else:
            file.write(auth_result)

    @creating
    async def create_async_generator(
        self, /, model: str, messages: Messages, stream: bool = True, **params: Any
    ) -> AsyncResult:
        """Give the answer's chunks, after what a login has to say to the user, whose text comes as ``Notice``."""
        params = {**self._merged(params), "stream": stream}
        file = AuthFile(self.get_cache_file())
        kept = await to_thread.run_sync(file.read)
        if kept is not None and _is_for(kept, params.get("api_key") or self._own_key):
            known, answered = deepcopy(kept), False
            try:
                async with aclosing(self._authed(file, kept, known, model, messages, params)) as answer:
                    async for chunk in answer:
                        answered = True
                        yield chunk
                return
            except AuthenticationError:
                if answered:
                    raise
                await to_thread.run_sync(partial(file.drop, if_unchanged=known))
        login: AuthResult | None = None
        async with aclosing(self._log_in(params)) as said:
            async for chunk in said:
                if isinstance(chunk, AuthResult):
                    login = chunk
                else:
                    yield Notice(chunk) if isinstance(chunk, str) else chunk
        if login is None:
            raise AuthenticationError("on_auth_async gave no AuthResult", provider=self.name)
        async with aclosing(self._authed(file, login, AuthResult(), model, messages, params)) as answer:
            async for chunk in answer:
                yield chunk

    @property
    def _own_key(self) -> Any:
        """The key that is bound where the class declares one, or that the class itself has."""
        return getattr(self, "api_key", None)

    async def _authed(
        self,
        file: AuthFile,
        login: AuthResult,
        known: AuthResult,
        model: str,
        messages: Messages,
        params: dict[str, Any],
    ) -> AsyncGenerator[Chunk, None]:
        """Ask; a login that is not what the file holds is kept as soon as the first chunk has proved it good."""
        is_proved = False
        async with _opened(self.create_authed(model, messages, login, **params)) as answer:
            while batch := await answer.pull():
                if not is_proved and vars(login) != vars(known):
                    await to_thread.run_sync(self.write_cache_file, file.path, login)
                is_proved = True
                for chunk in batch:
                    yield chunk

    async def _log_in(self, params: dict[str, Any]) -> AsyncGenerator[Chunk, None]:
        given: Any = self.on_auth_async(**params)
        if not hasattr(given, "__aiter__"):
            yield await given
            return
        async with _opened(given) as said:
            while batch := await said.pull():
                for chunk in batch:
                    yield chunk


def _is_for(kept: AuthResult, key: Any) -> bool:
    """Whether a login may be used for a request: not where the caller gives another key."""
    return not key or vars(kept).get("api_key", key) == key


@asynccontextmanager
async def _opened(chunks: AsyncIterator[Chunk]) -> AsyncIterator[Source[Chunk]]:
    source = IteratorSource(aiter(chunks))
    try:
        yield source
    finally:
        await source.aclose()
