"""Ask several language-model providers at once, stream from the first clean chunk, drop the rest, leak nothing.

The house, from the ground up; imports run down only, and a test keeps it so:

    cli/  simulator/  testing/  telemetry.py     what is built with the library
    _compose  _cleaned  _retry       Race, Fallback, Cleaned, Retry: providers made of providers
    _failover.py                     who goes on when a winner dies in mid-stream
    providers/                       who, where, which dialect, which key: declarations
    base_provider/                   what a provider is: the base classes, and every door to ask one
    _sync.py  _threads.py            from synchronous code into a loop, and from a loop into synchronous code
    _answer.py  _stream.py  _gate.py one answer; what the consumer reads; what is clean enough to win
    _race.py  _policies.py           the race over anything that gives items; it knows nothing of chats
    _latencies  _budget  _ordering   what policies know and may spend; whom to start first
    transports/                      the only sockets
    dialects/  _framing  _cleaning   bytes to frames to chunks; no I/O
    clean.py                         ways to decide a race
    _chunks  _messages  _errors ...  the words
"""

TYPE_CHECKING = False  # type checkers know it by its name; loading ``typing`` takes longer than all of this module
if TYPE_CHECKING:
    from typing import Any

    from g4ftrio._budget import budget as budget
    from g4ftrio._chunks import (
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
    from g4ftrio._cleaned import Cleaned as Cleaned
    from g4ftrio._cleaning import (
        ChunkFilter as ChunkFilter,
        Marker as Marker,
        is_content as is_content,
        is_output as is_output,
    )
    from g4ftrio._completion import Completion as Completion
    from g4ftrio._compose import (
        Fallback as Fallback,
        Race as Race,
        race as race,
        race_sync as race_sync,
    )
    from g4ftrio._errors import (
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
    from g4ftrio._events import (
        Asked as Asked,
        Event as Event,
    )
    from g4ftrio._health import Breaker as Breaker
    from g4ftrio._iterators import race_iterators as race_iterators
    from g4ftrio._limits import Rate as Rate
    from g4ftrio._messages import (
        audio as audio,
        file as file,
        image as image,
    )
    from g4ftrio._policies import (
        Policy as Policy,
        adaptive as adaptive,
        fallback as fallback,
        parallel as parallel,
        staggered as staggered,
    )
    from g4ftrio._printable import printable as printable
    from g4ftrio._report import (
        EntrantReport as EntrantReport,
        RaceReport as RaceReport,
    )
    from g4ftrio._request import ChatParams as ChatParams
    from g4ftrio._retry import (
        Retry as Retry,
        full_jitter as full_jitter,
    )
    from g4ftrio._stream import (
        RaceStream as RaceStream,
        Stream as Stream,
    )
    from g4ftrio._structured import ParseError as ParseError
    from g4ftrio._sync import SyncStream as SyncStream
    from g4ftrio._timeouts import Timeout as Timeout
    from g4ftrio._verdict import worth_retrying as worth_retrying
    from g4ftrio.clean import first_complete as first_complete
    from g4ftrio.transports.http import open_http_client as open_http_client

# Where the names of this face live. A module is loaded when something of it is first asked for, so that a program which
# uses little loads little, and a command can be interrupted from its first moment on.
_HOMES = {
    "_budget": "budget",
    "_chunks": """
        AudioResponse AuthResult Chunk Conversation Failover FinishReason ImageResponse Notice ProviderInfo
        ProviderMetadata Reasoning Refusal ToolCall ToolCallDelta ToolCalls Usage
    """,
    "_cleaned": "Cleaned",
    "_cleaning": "ChunkFilter Marker is_content is_output",
    "_completion": "Completion",
    "_compose": "Fallback Race race race_sync",
    "_errors": """
        AllFailed APIConnectionError APIResponseValidationError APIStatusError APITimeoutError AuthenticationError
        BadRequestError ConflictError Error EventLoopRunningError InternalServerError LimitError MessagesError
        MissingAuthError MissingKeyError ModelNotFoundError NotFoundError PaymentRequiredError PermissionDeniedError
        ProviderError ProviderNotFoundError RateLimitError RejectedError ResponseError SetupError SpecError
        TruncatedError UnknownModelError UnknownProviderError UnprocessableEntityError
    """,
    "_events": "Event Asked",
    "_health": "Breaker",
    "_iterators": "race_iterators",
    "_limits": "Rate",
    "_messages": "audio file image",
    "_policies": "Policy adaptive fallback parallel staggered",
    "_printable": "printable",
    "_report": "EntrantReport RaceReport",
    "_request": "ChatParams",
    "_retry": "Retry full_jitter",
    "_stream": "RaceStream Stream",
    "_structured": "ParseError",
    "_sync": "SyncStream",
    "_timeouts": "Timeout",
    "_verdict": "worth_retrying",
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
