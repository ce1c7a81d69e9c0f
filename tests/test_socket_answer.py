"""An answer over a WebSocket: what is said and when, how it ends, how long is waited. All in virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import httpx
import pytest
from msgspec import json
from websockets.utils import accept_key

from g4ftrio import (
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    Chunk,
    EntrantReport,
    FinishReason,
    SetupError,
    Stream,
    Timeout,
    TruncatedError,
)
from g4ftrio._streams.lazy import Lazy
from g4ftrio._streams.patient import Patient
from g4ftrio._streams.socket_answer import Question, SocketAnswer
from g4ftrio._words.request import Call, ChatRequest
from g4ftrio.transports._frames import Frames, Side
from tests import clocks
from tests.dialogues import SaysDialect, SaysDialogue, encoded

pytestmark = pytest.mark.anyio
anyio_backend = clocks.virtual_backends

KEY = "sk-very-secret-key"
FOREVER = 1e9
READY = encoded(ready=True)
HELLO = (encoded(say="Hel"), encoded(say="lo"))
FINISH, DONE = encoded(finish="stop"), encoded(done=True)

Step = bytes | float | tuple[int, str] | Exception | list[bytes]


class Line:
    """A service that is a list, as what httpx leaves of an upgraded connection.

    :param steps: messages to send, several of them in one packet, seconds to wait, a good-bye, an error to raise
    :ivar heard: what was said to it, and when
    """

    def __init__(self, *steps: Step, status: int = 101, head: float = 0.0, writing: float = 0.0) -> None:
        self.heard: list[tuple[float, Any]] = []
        self.closed: tuple[int | None, str] = (None, "")
        self.closed_at: float | None = None
        self.requests: list[httpx.Request] = []
        self.record = EntrantReport(name="one/model", model="model")
        self._steps = list(steps)
        self._due = 0.0
        self._status, self._head, self._writing = status, head, writing
        self._frames = Frames(Side.SERVER, 1 << 20)
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await anyio.sleep(self._head)
        if self._status != 101:
            return httpx.Response(self._status, json={"error": {"message": f"not with {KEY}"}})
        accept = accept_key(request.headers["sec-websocket-key"])
        headers = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept}
        return httpx.Response(101, headers=headers, extensions={"network_stream": self}, stream=_Closing(self))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            with anyio.fail_after(timeout):
                return await self._next()
        except TimeoutError as error:
            raise httpx.ReadTimeout("late") from error

    async def _next(self) -> bytes:
        while self._steps and isinstance(self._steps[0], float):
            self._due = self._due or anyio.current_time() + self._steps[0]  # a cancelled wait goes on
            await anyio.sleep_until(self._due)
            self._steps.pop(0)
            self._due = 0.0
        match self._steps.pop(0) if self._steps else b"":
            case Exception() as error:
                raise error
            case (int(code), str(reason)):
                self._frames.close(code, reason)
            case list(messages):
                for message in messages:
                    self._frames.say(message)
            case bytes(message) if message:
                self._frames.say(message)
        return self._frames.unsent()

    async def write(self, data: bytes, timeout: float | None = None) -> None:
        await anyio.sleep(self._writing)
        self.heard += ((anyio.current_time(), json.decode(message)) for message in self._frames.feed(data))
        self.closed = self._frames.closed

    def get_extra_info(self, name: str) -> None:
        return None

    def answer(self, timeout: Timeout | None = None, *, waits: bool = True) -> SocketAnswer:
        async def prepare() -> Question:
            dialogue = SaysDialogue(ChatRequest(model="model", messages=[{"role": "user", "content": "Why?"}]), waits)
            return Call(method="GET", url="wss://one.test/v1/talk", headers={"Authorization": KEY}), dialogue, (KEY,)

        return SocketAnswer(
            self.client, prepare, SaysDialect().read_error, timeout=timeout or Timeout(), record=self.record
        )

    async def read_all(self, timeout: Timeout | None = None, **settings: Any) -> list[Chunk]:
        answer = Patient(self.answer(timeout, **settings), timeout or Timeout(), "one/model")
        async with answer as source, Stream(source, self.record) as stream:
            return [chunk async for chunk in stream]


class _Closing(httpx.AsyncByteStream):
    """Its close is the connection's."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def aclose(self) -> None:
        self._line.closed_at = anyio.current_time()


QUESTION = {"ask": "Why?", "model": "model"}
TEXT: list[Chunk] = ["Hel", "lo", FinishReason("stop")]


# --- what is said ---


async def test_it_asks_when_it_was_greeted_and_reads_to_the_end() -> None:
    line = Line(1.0, READY, 1.0, *HELLO, [FINISH, DONE])
    assert await line.read_all() == TEXT
    assert line.heard == [(1.0, QUESTION)]
    assert str(line.requests[0].url) == "https://one.test/v1/talk"


async def test_it_asks_at_once_where_the_dialect_waits_for_nothing() -> None:
    line = Line(1.0, [*HELLO, FINISH, DONE])
    assert await line.read_all(waits=False) == TEXT
    assert line.heard == [(0.0, QUESTION)]


async def test_all_messages_of_one_read_are_one_batch() -> None:
    async with Line(READY, [*HELLO, FINISH], DONE).answer() as source:
        assert await source.pull() == TEXT
        assert await source.pull() == []
        assert await source.pull() == []


async def test_a_whole_answer_is_ended_by_a_good_bye() -> None:
    line = Line(READY, [*HELLO, FINISH, DONE], (1000, ""), 5.0)
    assert await line.read_all() == TEXT
    assert line.closed == (1000, "")
    assert line.closed_at == 0.0


async def test_the_good_bye_waits_but_a_moment_for_a_service_that_gives_none() -> None:
    line = Line(READY, [*HELLO, FINISH, DONE], FOREVER)
    assert await line.read_all() == TEXT
    assert line.closed == (1000, "")
    assert line.closed_at == 0.05


async def test_an_unfinished_answer_is_closed_without_a_word() -> None:
    line = Line(READY, HELLO[0], FOREVER)
    async with line.answer() as source:
        assert await source.pull() == ["Hel"]
    assert line.closed == (None, "")
    assert line.closed_at == 0.0


async def test_nothing_is_read_behind_the_end_marker() -> None:
    assert await Line([READY, *HELLO, FINISH, DONE, b"garbage"]).read_all() == TEXT


# --- ends ---


async def test_a_finished_answer_needs_no_end_marker() -> None:
    ends: list[Step] = [(1000, ""), b"", httpx.ReadError("reset")]
    for end in ends:
        assert await Line(READY, [*HELLO, FINISH], end).read_all() == TEXT


async def test_a_finish_and_then_silence_ends_after_two_seconds() -> None:
    line = Line(READY, [*HELLO, FINISH], FOREVER)
    assert await line.read_all() == TEXT
    assert anyio.current_time() == 2.0 + 0.05


@pytest.mark.parametrize("end", [(1000, ""), b"", httpx.ReadError("reset")], ids=["good-bye", "end", "reset"])
async def test_an_answer_that_was_cut_is_an_error_with_what_came(end: Step) -> None:
    line = Line(READY, *HELLO, end)
    with pytest.raises(TruncatedError, match=r"^one/model: the answer was cut off") as caught:
        await line.read_all()
    assert caught.value.text == "Hello"


async def test_what_the_service_said_with_its_good_bye_is_told() -> None:
    with pytest.raises(TruncatedError, match=r"marker; as it closed the socket, the service said: \*\*\* expired$"):
        await Line(READY, *HELLO, (1000, f"{KEY} expired")).read_all()


async def test_a_close_for_a_reason_is_a_typed_error_with_the_providers_name() -> None:
    with pytest.raises(APIStatusError, match=r"^one/model: .* code 1008: no model for \*\*\*$") as caught:
        await Line(READY, (1008, f"no model for {KEY}")).read_all()
    assert KEY not in repr(caught.value)


async def test_an_error_message_is_an_error_after_what_came_before() -> None:
    line = Line(READY, [*HELLO, encoded(error=f"bad {KEY}", status=401)])
    async with line.answer() as source:
        assert await source.pull() == ["Hel", "lo"]
        for _ in range(2):
            with pytest.raises(AuthenticationError, match=r"^one/model: .*bad \*\*\*"):
                await source.pull()
    assert line.closed == (None, "")


async def test_what_cannot_be_read_is_an_error() -> None:
    with pytest.raises(APIResponseValidationError, match=r"^one/model: "):
        await Line(READY, b"[not json").read_all()


async def test_a_refused_upgrade_is_an_error_with_the_providers_name_and_without_the_key() -> None:
    line = Line(status=401)
    with pytest.raises(AuthenticationError, match=r"^one/model: the key was refused .*not with \*\*\*"):
        await line.read_all()


async def test_what_cannot_be_expressed_is_raised_before_anything_is_sent() -> None:
    line = Line()

    async def prepare() -> Question:
        raise SetupError("no")

    answer = SocketAnswer(line.client, prepare, SaysDialect().read_error, timeout=Timeout(), record=line.record)
    with pytest.raises(SetupError):
        await answer.__aenter__()
    assert line.requests == []


# --- time ---


@pytest.mark.parametrize(
    ("steps", "timeout", "kind", "at"),
    [
        ([READY, FOREVER], Timeout(first_chunk=1), "first_chunk", 1.0),
        ([READY, HELLO[0], FOREVER], Timeout(stall=1), "stall", 1.0),
        ([READY, HELLO[0], 2.0, HELLO[1], FOREVER], Timeout(total=3), "total", 3.0),
        ([READY, HELLO[0], FOREVER], Timeout(idle=1), "idle", 1.0),
        ([FOREVER], Timeout(total=2, idle=1), "idle", 1.0),
    ],
)
async def test_time_outs_name_themselves(steps: Sequence[Step], timeout: Timeout, kind: str, at: float) -> None:
    line = Line(*steps)
    with pytest.raises(APITimeoutError, match=f"^one/model: .*timeout {kind}=") as caught:
        await line.read_all(timeout)
    assert caught.value.kind == kind
    assert anyio.current_time() == at
    assert line.closed_at == at


async def test_a_stalled_handshake_is_a_connect_timeout() -> None:
    with pytest.raises(APITimeoutError, match=r"^one/model: no connection within 1 s") as caught:
        await Line(head=FOREVER).read_all(Timeout(connect=1))
    assert caught.value.kind == "connect"
    assert anyio.current_time() == 1.0


async def test_a_question_that_cannot_be_sent_is_waited_for_no_longer_than_a_read() -> None:
    with pytest.raises(APITimeoutError) as caught:
        await Line(READY, writing=FOREVER).read_all(Timeout(total=3))
    assert (caught.value.kind, anyio.current_time()) == ("total", 3.0)


# --- whose it is ---


async def test_a_cancelled_read_loses_nothing() -> None:
    async with Line(READY, *HELLO, 1.0, [FINISH, DONE]).answer() as source:
        found: list[Chunk] = []
        for _ in range(8):
            with anyio.move_on_after(0.25):
                found += await source.pull()
        assert found == TEXT


async def test_it_outlives_its_context_and_its_task_where_it_is_detached() -> None:
    line = Line(READY, *HELLO, FOREVER)
    answer: Any = line.answer()

    async def open_it() -> None:
        async with answer:
            answer.detach()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_it)
    assert await answer.pull() == ["Hel"]
    assert line.closed_at is None
    await answer.aclose()
    assert line.closed_at is not None
    await answer.aclose()


async def test_a_client_that_it_adopts_is_closed_with_it() -> None:
    line = Line(READY, *HELLO)
    other = httpx.AsyncClient()
    answer: Any = line.answer()
    async with answer:
        answer.adopt(other)
    assert other.is_closed


async def test_nothing_is_opened_before_the_first_read_of_a_lazy_one() -> None:
    line = Line(READY, *HELLO, [FINISH, DONE])
    lazy = Lazy(line.answer())
    assert line.requests == []
    assert await lazy.pull() == ["Hel"]
    await lazy.aclose()
    assert line.closed_at == 0.0


async def test_an_answer_that_was_not_opened_says_so() -> None:
    answer = Line().answer()
    answer._decoder = SaysDialogue(ChatRequest(model="", messages=[{"content": ""}]))
    with pytest.raises(RuntimeError, match="not opened"):
        await answer.pull()
    await answer.aclose()
    answer.close_now()
