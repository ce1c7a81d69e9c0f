"""Ask several language-model providers at once, stream from the first clean chunk, drop the rest, leak nothing.

The house, from the ground up; imports run down only, and a test keeps it so:

    cli/  bench/  simulator/  testing/  telemetry.py    what is built with the library
    _compositions/           Race, Fallback, Retry, Cleaned: providers made of providers; who goes on in mid-stream
    providers/               who, where, which dialect, which key: declarations
    base_provider/           what a provider is: the base classes, and every door to ask one
    _resilience/             what is learned of services that misbehave, and limits of one's own
    _streams/                one answer: what is read, what is clean, what the consumer gets, in a loop or a thread
    _race/                   the race over anything that gives items; it knows nothing of chats
    transports/              the only sockets
    dialects/  _framing.py  _cleaning.py  clean.py      bytes to frames to chunks, and what is clean; no I/O
    _words/  _drawing/       the words: what is asked, what comes, what goes wrong, what is reported
"""

TYPE_CHECKING = False  # type checkers know it by its name; loading ``typing`` takes longer than all of this module
if TYPE_CHECKING:
    from typing import Any

    from g4ftrio._cleaning import (
        ChunkFilter as ChunkFilter,
        Marker as Marker,
        is_content as is_content,
        is_output as is_output,
    )
    from g4ftrio._compositions.cleaned import Cleaned as Cleaned
    from g4ftrio._compositions.doors import (
        race as race,
        race_sync as race_sync,
    )
    from g4ftrio._compositions.race import (
        Fallback as Fallback,
        Race as Race,
    )
    from g4ftrio._compositions.retry import (
        Retry as Retry,
        full_jitter as full_jitter,
    )
    from g4ftrio._race.budget import budget as budget
    from g4ftrio._race.iterators import race_iterators as race_iterators
    from g4ftrio._race.policies import (
        Policy as Policy,
        adaptive as adaptive,
        fallback as fallback,
        parallel as parallel,
        staggered as staggered,
    )
    from g4ftrio._resilience.health import Breaker as Breaker
    from g4ftrio._resilience.limits import Rate as Rate
    from g4ftrio._streams.stream import (
        RaceStream as RaceStream,
        Stream as Stream,
    )
    from g4ftrio._streams.sync import SyncStream as SyncStream
    from g4ftrio._words.chunks import (
        AudioResponse as AudioResponse,
        AuthResult as AuthResult,
        Chunk as Chunk,
        Conversation as Conversation,
        Failover as Failover,
        FinishReason as FinishReason,
        ImageResponse as ImageResponse,
        Notice as Notice,
        ProviderInfo as ProviderInfo,
        ProviderMetadata as ProviderMetadata,
        Reasoning as Reasoning,
        Refusal as Refusal,
        ToolCall as ToolCall,
        ToolCallDelta as ToolCallDelta,
        ToolCalls as ToolCalls,
        Usage as Usage,
    )
    from g4ftrio._words.completion import Completion as Completion
    from g4ftrio._words.errors import (
        AllFailed as AllFailed,
        APIConnectionError as APIConnectionError,
        APIResponseValidationError as APIResponseValidationError,
        APIStatusError as APIStatusError,
        APITimeoutError as APITimeoutError,
        AuthenticationError as AuthenticationError,
        BadRequestError as BadRequestError,
        ConflictError as ConflictError,
        Error as Error,
        EventLoopRunningError as EventLoopRunningError,
        InternalServerError as InternalServerError,
        LimitError as LimitError,
        MessagesError as MessagesError,
        MissingAuthError as MissingAuthError,
        MissingKeyError as MissingKeyError,
        ModelNotFoundError as ModelNotFoundError,
        NotFoundError as NotFoundError,
        PaymentRequiredError as PaymentRequiredError,
        PermissionDeniedError as PermissionDeniedError,
        ProviderError as ProviderError,
        ProviderNotFoundError as ProviderNotFoundError,
        RateLimitError as RateLimitError,
        RejectedError as RejectedError,
        ResponseError as ResponseError,
        SetupError as SetupError,
        SpecError as SpecError,
        TruncatedError as TruncatedError,
        UnknownModelError as UnknownModelError,
        UnknownProviderError as UnknownProviderError,
        UnprocessableEntityError as UnprocessableEntityError,
    )
    from g4ftrio._words.events import (
        Asked as Asked,
        Event as Event,
    )
    from g4ftrio._words.messages import (
        audio as audio,
        file as file,
        image as image,
    )
    from g4ftrio._words.printable import printable as printable
    from g4ftrio._words.report import (
        EntrantReport as EntrantReport,
        RaceReport as RaceReport,
    )
    from g4ftrio._words.request import ChatParams as ChatParams
    from g4ftrio._words.structured import ParseError as ParseError
    from g4ftrio._words.timeouts import Timeout as Timeout
    from g4ftrio._words.verdict import worth_retrying as worth_retrying
    from g4ftrio.clean import first_complete as first_complete
    from g4ftrio.transports.http import open_http_client as open_http_client

# Where the names of this face live. A module is loaded when something of it is first asked for, so that a program which
# uses little loads little, and a command can be interrupted from its first moment on.
_HOMES = {
    "_cleaning": "ChunkFilter Marker is_content is_output",
    "_compositions.cleaned": "Cleaned",
    "_compositions.doors": "race race_sync",
    "_compositions.race": "Fallback Race",
    "_compositions.retry": "Retry full_jitter",
    "_race.budget": "budget",
    "_race.iterators": "race_iterators",
    "_race.policies": "Policy adaptive fallback parallel staggered",
    "_resilience.health": "Breaker",
    "_resilience.limits": "Rate",
    "_streams.stream": "RaceStream Stream",
    "_streams.sync": "SyncStream",
    "_words.chunks": """
        AudioResponse AuthResult Chunk Conversation Failover FinishReason ImageResponse Notice ProviderInfo
        ProviderMetadata Reasoning Refusal ToolCall ToolCallDelta ToolCalls Usage
    """,
    "_words.completion": "Completion",
    "_words.errors": """
        AllFailed APIConnectionError APIResponseValidationError APIStatusError APITimeoutError AuthenticationError
        BadRequestError ConflictError Error EventLoopRunningError InternalServerError LimitError MessagesError
        MissingAuthError MissingKeyError ModelNotFoundError NotFoundError PaymentRequiredError PermissionDeniedError
        ProviderError ProviderNotFoundError RateLimitError RejectedError ResponseError SetupError SpecError
        TruncatedError UnknownModelError UnknownProviderError UnprocessableEntityError
    """,
    "_words.events": "Event Asked",
    "_words.messages": "audio file image",
    "_words.printable": "printable",
    "_words.report": "EntrantReport RaceReport",
    "_words.request": "ChatParams",
    "_words.structured": "ParseError",
    "_words.timeouts": "Timeout",
    "_words.verdict": "worth_retrying",
    "clean": "first_complete",
    "transports.http": "open_http_client",
}
_PACKAGES = ("base_provider", "bench", "clean", "providers", "simulator", "telemetry", "testing", "typing")
_WHERE = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = tuple(sorted(_WHERE, key=lambda name: (name[0].islower(), name)))  # it is a tuple


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
