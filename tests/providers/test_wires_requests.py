"""What is asked over each wire: messages of every role, parts of every kind, and the form that the answer is to have.

What a wire has a form for arrives, what it has none for is an error that names it, and then nothing is sent.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
import pytest
from msgspec import Meta, Struct

from g4ftrio import MessagesError, ParseError, SetupError, audio, file, image
from tests.providers.all_wires import ALL, asking, fleet_of, last, sent

pytestmark = pytest.mark.anyio

ANSWER = "A small blue square."
PIXEL, WAVE, PDF = b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x00\x00\x00WAVE", b"%PDF-1.7\n"
PNG_64, WAVE_64, PDF_64 = (b64encode(data).decode() for data in (PIXEL, WAVE, PDF))
PNG_URL, PDF_URL = f"data:image/png;base64,{PNG_64}", f"data:application/pdf;base64,{PDF_64}"
LINK = "https://pictures.test/square.png"

Fragment: TypeAlias = dict[str, Any]


def held(body: Any) -> Iterator[Mapping[str, Any]]:
    """All objects in a body."""
    children = body.values() if isinstance(body, Mapping) else body if isinstance(body, list) else ()
    if isinstance(body, Mapping):
        yield body
    for child in children:
        yield from held(child)


def holds(body: Any, fragment: Fragment) -> bool:
    """Whether one of the objects in a body has all that is in the fragment."""
    return any(fragment.items() <= {name: each.get(name) for name in fragment}.items() for each in held(body))


# --- roles ---

SYSTEM: dict[str, Fragment] = {
    "anthropic": {"system": "Be brief."},
    "gemini": {"systemInstruction": {"parts": [{"text": "Be brief."}]}},
    "gemini-live": {"systemInstruction": {"parts": [{"text": "Be brief."}]}},
    "ollama": {"role": "system", "content": "Be brief."},
    "openai-compatible": {"role": "system", "content": "Be brief."},
    "openai-realtime": {"instructions": "Be brief."},
    "openai-responses": {"role": "system", "content": "Be brief."},
    "openai-responses-ws": {"role": "system", "content": "Be brief."},
}
CALLED: dict[str, Fragment] = {
    "anthropic": {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}},
    "gemini": {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Paris"}}},
    "gemini-live": {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Paris"}}},
    "ollama": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}},
    "openai-compatible": {"name": "weather", "arguments": '{"city":"Paris"}'},
    "openai-realtime": {"call_id": "call_1", "name": "weather", "arguments": '{"city":"Paris"}'},
    "openai-responses": {"call_id": "call_1", "name": "weather", "arguments": '{"city":"Paris"}'},
    "openai-responses-ws": {"call_id": "call_1", "name": "weather", "arguments": '{"city":"Paris"}'},
}
RESULT: dict[str, Fragment] = {
    "anthropic": {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"},
    "gemini": {"name": "weather", "response": {"output": "rain"}},
    "gemini-live": {"name": "weather", "response": {"output": "rain"}},
    "ollama": {"role": "tool", "tool_call_id": "call_1", "tool_name": "weather", "content": "rain"},
    "openai-compatible": {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    "openai-realtime": {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    "openai-responses": {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    "openai-responses-ws": {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
}
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How is Paris?"},
    {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    {"role": "assistant", "content": "It rains."},
    {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "London?"}]},
]


@pytest.mark.parametrize("label", ALL)
async def test_messages_of_every_role_arrive(label: str) -> None:
    async with fleet_of(label, text=ANSWER) as fleet:
        assert (await asking(fleet[label]).complete(TALK)).text == ANSWER
        body = last(fleet[label]).body
    for fragment in (SYSTEM[label], CALLED[label], RESULT[label]):
        assert holds(body, fragment), (fragment, body)
    said = msgspec.json.encode(body).decode()
    places = [said.find(text) for text in ("How is Paris?", "Let me see.", '"rain"', "It rains.", "And", "London?")]
    assert places == sorted(places)
    assert -1 not in places


# --- parts ---

_INPUT_FILE = {"type": "input_file", "filename": "file.pdf", "file_data": PDF_URL}
_DOCUMENT = {"type": "base64", "media_type": "application/pdf", "data": PDF_64}

PARTS: dict[str, dict[str, Any]] = {
    "link": image(LINK),
    "picture": image(PIXEL),
    "sound": audio(WAVE),
    "pcm": audio(b"\x00\x01", format="pcm16"),
    "file": file(PDF),
}
ARRIVES: dict[str, dict[str, Fragment]] = {
    "anthropic": {
        "link": {"type": "image", "source": {"type": "url", "url": LINK}},
        "picture": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_64}},
        "file": {"type": "document", "source": _DOCUMENT, "title": "file.pdf"},
    },
    "gemini": {
        "link": {"fileData": {"mimeType": "image/png", "fileUri": LINK}},
        "picture": {"inlineData": {"mimeType": "image/png", "data": PNG_64}},
        "sound": {"inlineData": {"mimeType": "audio/wav", "data": WAVE_64}},
        "pcm": {"inlineData": {"mimeType": "audio/pcm16", "data": "AAE="}},
        "file": {"inlineData": {"mimeType": "application/pdf", "data": PDF_64}},
    },
    "ollama": {"picture": {"images": [PNG_64]}, "sound": {"images": [WAVE_64]}, "pcm": {"images": ["AAE="]}},
    "openai-compatible": {
        "link": {"type": "image_url", "image_url": {"url": LINK}},
        "picture": {"type": "image_url", "image_url": {"url": PNG_URL}},
        "sound": {"type": "input_audio", "input_audio": {"data": WAVE_64, "format": "wav"}},
        "pcm": {"type": "input_audio", "input_audio": {"data": "AAE=", "format": "pcm16"}},
        "file": {"type": "file", "file": {"filename": "file.pdf", "file_data": PDF_URL}},
    },
    "openai-realtime": {
        "picture": {"type": "input_image", "image_url": PNG_URL},
        "pcm": {"type": "input_audio", "audio": "AAE="},
    },
    "openai-responses": {
        "link": {"type": "input_image", "image_url": LINK, "detail": "auto"},
        "picture": {"type": "input_image", "image_url": PNG_URL, "detail": "auto"},
        "file": _INPUT_FILE,
    },
}
ARRIVES |= {"gemini-live": ARRIVES["gemini"], "openai-responses-ws": ARRIVES["openai-responses"]}
REFUSED = {
    ("anthropic", "sound"): "takes no audio",
    ("anthropic", "pcm"): "takes no audio",
    ("ollama", "link"): "takes no link to an image",
    ("ollama", "file"): "takes no part of the type 'file'",
    ("openai-realtime", "link"): "takes no link to an image",
    ("openai-realtime", "sound"): "takes no sound of that format",
    ("openai-realtime", "file"): "takes no part of the type 'file'",
    ("openai-responses", "sound"): "takes no sound",
    ("openai-responses", "pcm"): "takes no sound",
    ("openai-responses-ws", "sound"): "takes no sound",
    ("openai-responses-ws", "pcm"): "takes no sound",
}


def shown(part: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}]


@pytest.mark.parametrize(("label", "part"), [(label, part) for label in ARRIVES for part in ARRIVES[label]])
async def test_a_part_that_a_wire_has_a_form_for_arrives(label: str, part: str) -> None:
    async with fleet_of(label, text=ANSWER) as fleet:
        assert (await asking(fleet[label]).complete(shown(PARTS[part]))).text == ANSWER
        assert holds(last(fleet[label]).body, ARRIVES[label][part]), last(fleet[label]).body


@pytest.mark.parametrize(("label", "part"), REFUSED)
async def test_a_part_that_it_has_none_for_is_named_and_nothing_is_sent(label: str, part: str) -> None:
    async with fleet_of(label) as fleet:
        with pytest.raises(MessagesError, match=f"^{label}: this service {REFUSED[label, part]}"):
            await asking(fleet[label]).complete(shown(PARTS[part]))
        assert fleet[label].log == []


def test_there_is_a_word_about_every_wire_and_part() -> None:
    told = {(label, part) for label in ARRIVES for part in ARRIVES[label]}
    assert told.isdisjoint(REFUSED)
    assert told | REFUSED.keys() == {(label, part) for label in ALL for part in PARTS}


@pytest.mark.parametrize("label", ALL)
async def test_a_picture_is_the_same_by_its_bytes_its_path_and_its_data_url(label: str, tmp_path: Path) -> None:
    path = tmp_path / "square.png"
    path.write_bytes(PIXEL)
    async with fleet_of(label, text=ANSWER) as fleet:
        for source in (PIXEL, path, str(path), PNG_URL):
            await asking(fleet[label]).complete(shown(image(source)))
            assert holds(last(fleet[label]).body, ARRIVES[label]["picture"])


# --- the form of the answer ---


class Weather(Struct):
    city: str
    sunny: bool


@dataclass
class Place:
    city: str
    sunny: bool


class Number(Struct):
    """Its strings are digits, of which the simulated models know nothing."""

    digits: Annotated[str, Meta(pattern=r"^\d+$")]


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FORMLESS = ("gemini-live", "openai-realtime")
FORMING = [label for label in ALL if label not in FORMLESS]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", [Weather, Place])
@pytest.mark.parametrize("label", FORMING)
async def test_an_answer_is_of_the_type_that_was_asked_for(label: str, kind: Any, stream: bool) -> None:
    async with fleet_of(label, reasoning=2) as fleet:
        provider = asking(fleet[label])
        whole = await provider.complete("Describe Paris", response_format=kind, stream=stream)
    assert whole.parsed == kind(city="Paris", sunny=True)


@pytest.mark.parametrize("label", FORMING)
async def test_an_answer_is_of_a_pydantic_model(label: str) -> None:
    pydantic = pytest.importorskip("pydantic")
    kind = pydantic.create_model("Weather", city=(str, ...), sunny=(bool, ...))
    async with fleet_of(label) as fleet:
        whole = await asking(fleet[label]).complete("Describe Paris", response_format=kind)
    assert whole.parsed == kind(city="Paris", sunny=True)


@pytest.mark.parametrize("label", FORMING)
async def test_an_answer_keeps_to_a_plain_schema(label: str) -> None:
    async with fleet_of(label) as fleet:
        whole = await asking(fleet[label]).complete("Describe Paris", response_format=SCHEMA)
    assert (whole.text, whole.parsed) == ('{"city":"Paris"}', {"city": "Paris"})


@pytest.mark.parametrize("label", FORMING)
async def test_an_answer_that_does_not_fit_is_an_error_with_the_text(label: str) -> None:
    async with fleet_of(label) as fleet:
        with pytest.raises(ParseError, match="the answer is not of the asked form") as caught:
            await asking(fleet[label]).complete("Describe Paris", response_format=Number)
    assert (caught.value.text, caught.value.provider) == ('{"digits":"Paris"}', label)


@pytest.mark.parametrize("kind", [{"type": "text"}, None])
@pytest.mark.parametrize("label", FORMING)
async def test_plain_text_is_not_parsed(label: str, kind: Any) -> None:
    async with fleet_of(label, text=ANSWER) as fleet:
        whole = await asking(fleet[label]).complete("Describe Paris", response_format=kind)
    assert (whole.text, whole.parsed) == (ANSWER, None)


@pytest.mark.parametrize("label", ["openai-compatible", "openai-responses", "openai-responses-ws"])
async def test_a_refusal_is_not_parsed(label: str) -> None:
    async with fleet_of(label, fault="refusal") as fleet:
        whole = await asking(fleet[label]).complete("Describe Paris", response_format=Weather)
    assert (whole.refusal, whole.text, whole.parsed) == ("I cannot help with that.", "", None)


@pytest.mark.parametrize("kind", [Weather, SCHEMA, {"type": "json_object"}])
@pytest.mark.parametrize("label", FORMLESS)
async def test_a_wire_without_such_a_form_says_so_and_nothing_is_sent(label: str, kind: Any) -> None:
    async with fleet_of(label) as fleet:
        with pytest.raises(SetupError, match=f"^{label}: this service takes no 'response_format'"):
            await asking(fleet[label]).complete("Describe Paris", response_format=kind)
        assert fleet[label].log == []


# --- what only one service knows ---

_DEEP = ({"temperature": 0.5}, {"generationConfig": {"topK": 3}}, {"generationConfig": {"temperature": 0.5, "topK": 3}})
_EFFORT = ({"reasoning_effort": "low"}, {"reasoning": {"x": 1}}, {"reasoning": {"x": 1}})
LAID_OVER: dict[str, tuple[dict[str, Any], Fragment, Fragment]] = {
    "anthropic": ({"user": "me"}, {"metadata": {"x": 1}}, {"metadata": {"x": 1}}),
    "gemini": _DEEP,
    "gemini-live": (
        _DEEP[0],
        _DEEP[1],
        {"generationConfig": {"responseModalities": ["TEXT"], **_DEEP[2]["generationConfig"]}},
    ),
    "ollama": ({"temperature": 0.5}, {"options": {"top_k": 3}}, {"options": {"temperature": 0.5, "top_k": 3}}),
    "openai-compatible": ({}, {"stream_options": {"x": 1}}, {"stream_options": {"x": 1}}),
    "openai-realtime": _EFFORT,
    "openai-responses": _EFFORT,
    "openai-responses-ws": _EFFORT,
}


@pytest.mark.parametrize("label", ALL)
async def test_extra_fields_are_laid_over_the_body(label: str) -> None:
    params, extra, arrives = LAID_OVER[label]
    async with fleet_of(label, text=ANSWER) as fleet:
        async with asking(fleet[label]).stream(
            "Hi", extra_body={"only_here": 1, "not_here": None, **extra}, **params
        ) as stream:
            assert (await stream.collect()).text == ANSWER
        body = last(fleet[label]).body
    assert holds(body, {"only_here": 1, **arrives}), body
    assert "not_here" not in sent(fleet[label])
