"""The documents' own examples, unchanged but for import paths, under asyncio and trio, without a key."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest
import trio

from g4ftrio import EventLoopRunningError
from g4ftrio.base_provider import AbstractProvider, AsyncGeneratorProvider, AsyncProvider, ProviderModelMixin
from g4ftrio.providers import Aura, Jmuz, Ylokh
from g4ftrio.typing import AsyncResult, CreateResult, Messages
from tests.providers.wires import Recorder, events, in_thread, streamed, whole

CHAT = streamed(
    *events(
        {"choices": [{"delta": {"role": "assistant", "content": "", "reasoning_content": "Hm."}}]},
        {"choices": [{"delta": {"content": "Join for free\nHello"}}]},
        {"choices": [{"delta": {"content": " there"}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        "[DONE]",
    )
)
TEXT = streamed("Grüß ".encode(), "dich 😀".encode(), kind="text/plain")
MODELS = whole({"data": [{"id": "gpt-4o"}, {"id": "deepseek-v3"}]})

Main = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    if request.param == "trio":
        return trio.run
    return lambda main: asyncio.run(main())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Where all three are pointed at; a class that is asked without an instance has asked nothing before."""
    with in_thread(Recorder(CHAT)) as service:
        monkeypatch.setattr(Jmuz, "api_base", f"{service.url}gpt/api/v2")
        monkeypatch.setattr(Jmuz, "_default_instance", None)
        monkeypatch.setattr(Ylokh, "api_base", f"{service.url}v1")
        monkeypatch.setattr(Aura, "url", service.url)
        yield service


# The three providers.


def test_collecting_a_jmuz_answer(service: Recorder, run: Callable[[Main], None]) -> None:
    collected = []

    async def main() -> None:
        result_text = ""
        async for chunk in Jmuz.create_async_generator(
            model="gpt-4o", messages=[{"role": "user", "content": "Hello, how are you?"}]
        ):
            result_text += chunk
        collected.append(result_text)

    run(main)
    assert collected == ["Hello there"]
    assert service.asked[0]["authorization"] is None


def test_printing_ylokh_chunks(
    service: Recorder, run: Callable[[Main], None], capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        messages = [{"role": "user", "content": "Hello"}]
        async for chunk in Ylokh.create_async_generator(model="gpt-3.5-turbo", messages=messages, stream=True):
            print(chunk, end="")

    run(main)
    assert capsys.readouterr().out == "Join for free\nHello there"  # its service advertises nothing


def test_printing_aura_chunks(run: Callable[[Main], None], capsys: pytest.CaptureFixture[str]) -> None:
    with in_thread(Recorder(TEXT)) as service, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Aura, "url", service.url)

        async def main() -> None:
            messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
            async for chunk in Aura.create_async_generator(
                model="openchat_3.6", messages=messages, temperature=0.7, max_tokens=1000
            ):
                print(chunk, end="")

        run(main)
    assert capsys.readouterr().out == "Grüß dich 😀"


def test_listing_the_models_of_jmuz(monkeypatch: pytest.MonkeyPatch) -> None:
    with in_thread(Recorder(MODELS)) as service:
        monkeypatch.setattr(Jmuz, "api_base", service.url)
        monkeypatch.setattr(Jmuz, "_default_instance", None)
        models = Jmuz.get_models()
        assert models == ["deepseek-v3", "gpt-4o"]
        assert Jmuz.get_models() == models
        assert len(service.asked) == 1


def test_asking_jmuz_from_synchronous_code(service: Recorder) -> None:
    result_text = ""
    for chunk in Jmuz.create_completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], stream=True):
        result_text += chunk
    assert result_text == "Hello there"


def test_asking_synchronously_inside_a_loop_names_the_line_to_write(
    service: Recorder, run: Callable[[Main], None]
) -> None:
    async def main() -> None:
        with pytest.raises(EventLoopRunningError, match=r"async for chunk in Jmuz\.create_async_generator\(\.\.\.\)"):
            Jmuz.create_completion(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
        with pytest.raises(EventLoopRunningError, match=r"await Jmuz\.list_models\(\)"):
            Jmuz.get_models()

    run(main)
    assert service.asked == []


SCRIPT = """
import asyncio
import trio
from g4ftrio.providers import Aura, Jmuz, Ylokh

async def main():
    messages = [{"role": "user", "content": "Hello"}]
    result_text = ""
    async for chunk in Jmuz.create_async_generator(model="gpt-4o", messages=messages):
        result_text += chunk
    print(result_text)
    async for chunk in Ylokh.create_async_generator(model="gpt-3.5-turbo", messages=messages):
        print(chunk, end="")

"""


@pytest.mark.parametrize("start", ["asyncio.run(main())", "trio.run(main)"])
def test_a_script_of_its_own_ends_without_a_warning(service: Recorder, start: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(SCRIPT + start, "utf-8")
    addresses = {"JMUZ_BASE_URL": Jmuz.api_base, "YLOKH_BASE_URL": Ylokh.api_base, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **addresses},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Hello there\nJoin for free\nHello there"


# A user's own provider, of each base.


class Spoken(AbstractProvider):
    """It is synchronous."""

    @classmethod
    def create_completion(cls, model: str, messages: Messages, stream: bool, **kwargs: Any) -> CreateResult:
        yield f"{cls.__name__} heard "
        yield str(messages[-1]["content"])


class Written(AsyncProvider):
    """It gives the whole text at once."""

    @classmethod
    async def create_async(cls, model: str, messages: Messages, **kwargs: Any) -> str:
        await anyio.lowlevel.checkpoint()
        return f"{cls.__name__} heard {messages[-1]['content']}"


class Streamed(AsyncGeneratorProvider):
    """It gives the text piece by piece."""

    @classmethod
    async def create_async_generator(
        cls, model: str, messages: Messages, stream: bool = True, **kwargs: Any
    ) -> AsyncResult:
        yield f"{cls.__name__} heard "
        yield str(messages[-1]["content"])


class Static(AsyncGeneratorProvider, ProviderModelMixin):
    """It needs nothing of its class."""

    default_model = "only"

    @staticmethod
    async def create_async_generator(model: str, messages: Messages, **kwargs: Any) -> AsyncResult:
        yield "Static heard "
        yield str(messages[-1]["content"])


BASES: list[tuple[type[AbstractProvider], int]] = [(Spoken, 2), (Written, 1), (Streamed, 2), (Static, 2)]
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(("provider", "pieces"), BASES)
def test_a_users_own_provider_is_asked_from_synchronous_code(provider: type[AbstractProvider], pieces: int) -> None:
    MyProvider = provider
    response = MyProvider.create_completion(model="gpt-4", messages=HELLO, stream=True)
    chunks = list(response)
    assert ("".join(map(str, chunks)), len(chunks)) == (f"{provider.__name__} heard Hello", pieces)
    create = MyProvider.get_create_function()
    assert "".join(map(str, create("gpt-4", HELLO, True))) == f"{provider.__name__} heard Hello"


@pytest.mark.parametrize("provider", [Spoken, Written, Streamed, Static])
def test_a_users_own_provider_is_asked_from_asynchronous_code(
    provider: type[AbstractProvider], run: Callable[[Main], None]
) -> None:
    heard = []

    async def main() -> None:
        heard.append(await provider.create_async(model="gpt-4", messages=HELLO))
        text = ""
        async for chunk in provider.create_async_generator(model="gpt-4", messages=HELLO):
            text += chunk
        heard.append(text)
        heard.append((await provider.complete("Hello")).text)

    run(main)
    assert heard == [f"{provider.__name__} heard Hello"] * 3
