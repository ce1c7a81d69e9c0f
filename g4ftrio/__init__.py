"""Ask several language-model providers at once, stream from the first clean chunk, drop the rest, leak nothing.

The house, from the ground up; imports run down only, and a test keeps it so:

    cli/  simulator/  testing.py     what is built with the library
    _compose.py  _cleaned.py         Race, Fallback, Cleaned: providers made of providers
    providers/                       who, where, which dialect, which key: declarations
    base_provider/                   what a provider is: the base classes, and every door to ask one
    _sync.py  _threads.py            from synchronous code into a loop, and from a loop into synchronous code
    _answer.py  _stream.py  _gate.py one answer; what the consumer reads; what is clean enough to win
    _race.py  _policies.py           the race over anything that gives items; it knows nothing of chats
    transports/                      the only sockets
    dialects/  _framing  _cleaning   bytes to frames to chunks; no I/O
    _chunks  _messages  _errors ...  the words
"""

from g4ftrio._chunks import (
    AudioResponse,
    AuthResult,
    Chunk,
    Conversation,
    Failover,
    FinishReason,
    ImageResponse,
    Notice,
    ProviderInfo,
    ProviderMetadata,
    Reasoning,
    Refusal,
    ToolCall,
    ToolCallDelta,
    ToolCalls,
    Usage,
)
from g4ftrio._cleaned import Cleaned
from g4ftrio._cleaning import ChunkFilter, Marker, is_content, is_output, printable
from g4ftrio._completion import Completion
from g4ftrio._compose import Fallback, Race, race, race_sync
from g4ftrio._errors import (
    AllFailed,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Error,
    EventLoopRunningError,
    InternalServerError,
    MessagesError,
    MissingAuthError,
    MissingKeyError,
    ModelNotFoundError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProviderError,
    ProviderNotFoundError,
    RateLimitError,
    RejectedError,
    ResponseError,
    SetupError,
    SpecError,
    TruncatedError,
    UnknownModelError,
    UnknownProviderError,
    UnprocessableEntityError,
)
from g4ftrio._iterators import race_iterators
from g4ftrio._messages import audio, file, image
from g4ftrio._policies import Policy, fallback, parallel, staggered
from g4ftrio._report import EntrantReport, RaceReport
from g4ftrio._request import ChatParams
from g4ftrio._stream import RaceStream, Stream
from g4ftrio._sync import SyncStream
from g4ftrio._timeouts import Timeout
from g4ftrio.transports.http import open_http_client

__all__ = (
    "APIConnectionError",
    "APIResponseValidationError",
    "APIStatusError",
    "APITimeoutError",
    "AllFailed",
    "AudioResponse",
    "AuthResult",
    "AuthenticationError",
    "BadRequestError",
    "ChatParams",
    "Chunk",
    "ChunkFilter",
    "Cleaned",
    "Completion",
    "ConflictError",
    "Conversation",
    "EntrantReport",
    "Error",
    "EventLoopRunningError",
    "Failover",
    "Fallback",
    "FinishReason",
    "ImageResponse",
    "InternalServerError",
    "Marker",
    "MessagesError",
    "MissingAuthError",
    "MissingKeyError",
    "ModelNotFoundError",
    "NotFoundError",
    "Notice",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "Policy",
    "ProviderError",
    "ProviderInfo",
    "ProviderMetadata",
    "ProviderNotFoundError",
    "Race",
    "RaceReport",
    "RaceStream",
    "RateLimitError",
    "Reasoning",
    "Refusal",
    "RejectedError",
    "ResponseError",
    "SetupError",
    "SpecError",
    "Stream",
    "SyncStream",
    "Timeout",
    "ToolCall",
    "ToolCallDelta",
    "ToolCalls",
    "TruncatedError",
    "UnknownModelError",
    "UnknownProviderError",
    "UnprocessableEntityError",
    "Usage",
    "audio",
    "fallback",
    "file",
    "image",
    "is_content",
    "is_output",
    "open_http_client",
    "parallel",
    "printable",
    "race",
    "race_iterators",
    "race_sync",
    "staggered",
)
