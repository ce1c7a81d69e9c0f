"""The two doors to a race that needs no ``Race`` of its own: ``race`` and ``race_sync``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from g4ftrio._cleaning import is_content
from g4ftrio._compositions.course import RaceContext
from g4ftrio._compositions.failover import Midstream
from g4ftrio._compositions.race import Race
from g4ftrio._race.ordering import Order, Prices
from g4ftrio._race.policies import Policy
from g4ftrio._streams.gate import Clean
from g4ftrio._streams.sync import Backend, SyncStream
from g4ftrio._words.events import Hook
from g4ftrio._words.messages import Messages
from g4ftrio._words.request import ChatParams
from g4ftrio._words.timeouts import TimeoutTypes
from g4ftrio.providers import ProviderTypes

if TYPE_CHECKING:
    import httpx

__all__ = ("race", "race_sync")


def race(
    providers: Sequence[ProviderTypes],
    messages: str | Messages,
    *,
    model: str | None = None,
    system: str | None = None,
    policy: Policy | None = None,
    order: Order = "given",
    prices: Prices | None = None,
    clean: Clean = is_content,
    midstream: Midstream = "raise",
    keep_standby: int = 0,
    timeout: TimeoutTypes = None,
    http_client: httpx.AsyncClient | None = None,
    grace: float = 1.0,
    skip_unready: bool = False,
    on_event: Hook | None = None,
    **params: Unpack[ChatParams],
) -> RaceContext:
    """Ask several providers, and stream from the first that gives a clean chunk.

    ``async with race([...], "Why?") as stream`` waits for the winner or raises; the others are cancelled at the moment
    of the win, and closed beside the running stream. ``stream = await race(...).settle()`` is the second door, for
    generators and web responses: no scope and no task is left open, and ``await stream.aclose()`` works from any task.

    :param providers: instances, classes, or specs: ``provider[/model][@base_url]``
    :param messages: a prompt, or a list of mappings in the OpenAI shape
    :param model: the model for every entrant that names none
    :param system: a system message to put before them
    :param policy: when to start the next: ``parallel()``, the default, ``staggered()``, ``adaptive()``, ``fallback()``
    :param order: who is first: ``given``, or by what the policy knows, ``latency``, ``success``, or by ``price``
    :param prices: for ``order="price"``: ``{"provider/model": (input, output)}`` for a million tokens
    :param clean: given a chunk and all the text so far, whether this decides the race; see also ``g4ftrio.clean``
    :param midstream: when the winner fails after chunks were given out: ``raise`` its error, ``continue`` from its text
        with who can (``prefill``), or ``restart``; a ``Failover`` marks the seam; not once a tool call was given out
    :param keep_standby: chunks of the winner during which the runner-up is kept, open and unread, to take over
    :param timeout: a ``Timeout`` or seconds without progress, for every entrant; ``total`` bounds the race as well
    :param http_client: an ``httpx.AsyncClient`` for the entrants that have none
    :param grace: seconds that a loser has to close itself before it is forced to
    :param skip_unready: leave out entrants whose set-up is wrong (no key) instead of raising
    :param on_event: is called with an ``Event`` for everything that happens in the race, while it happens
    :param params: see ``ChatParams``
    :raises SetupError: on entering: an unknown provider, a missing key; nothing was sent
    :raises AllFailed: on entering: no provider gave a clean chunk; ``.failures`` has every error
    :raises APITimeoutError: on entering: nobody won within ``timeout.total``
    :raises ProviderError: while reading: the winner failed, and nobody went on
    """
    whole = Race(
        providers,
        policy=policy,
        order=order,
        prices=prices,
        clean=clean,
        midstream=midstream,
        keep_standby=keep_standby,
        grace=grace,
        skip_unready=skip_unready,
        on_event=on_event,
    )
    return whole.stream(messages, model=model, system=system, timeout=timeout, http_client=http_client, **params)


def race_sync(
    providers: Sequence[ProviderTypes],
    messages: str | Messages,
    *,
    model: str | None = None,
    system: str | None = None,
    policy: Policy | None = None,
    order: Order = "given",
    prices: Prices | None = None,
    clean: Clean = is_content,
    midstream: Midstream = "raise",
    keep_standby: int = 0,
    timeout: TimeoutTypes = None,
    grace: float = 1.0,
    skip_unready: bool = False,
    on_event: Hook | None = None,
    backend: Backend = "trio",
    **params: Unpack[ChatParams],
) -> SyncStream:
    """Race from synchronous code: a plain ``with`` gives the stream, a plain ``for`` reads it.

    Entering waits for the winner or raises. The parameters and errors are those of ``race``.

    :param backend: the event loop to run it on, in a thread of its own: ``trio`` or ``asyncio``
    :raises EventLoopRunningError: one runs here already; nothing was sent
    """
    context = race(
        providers,
        messages,
        model=model,
        system=system,
        policy=policy,
        order=order,
        prices=prices,
        clean=clean,
        midstream=midstream,
        keep_standby=keep_standby,
        timeout=timeout,
        grace=grace,
        skip_unready=skip_unready,
        on_event=on_event,
        **params,
    )
    return SyncStream(lambda: context, backend=backend, instead="async with race(...) as stream:", grace=grace)
