"""The images wire: a prompt in, pictures out."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from g4ftrio._words.chunks import Chunk, ImageResponse, Usage
from g4ftrio._words.errors import (
    APIResponseValidationError,
    APIStatusError,
    MessagesError,
    RateLimitError,
    SetupError,
    TruncatedError,
)
from g4ftrio._words.messages import image
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import Decoder, Dialect
from g4ftrio.dialects.openai_images import OpenAIImages, OpenAIImagesDecoder

HELLO = [{"role": "user", "content": "A fox"}]
HEADS = {
    "image/png": b"\x89PNG\r\n\x1a\n" + bytes(8),
    "image/jpeg": b"\xff\xd8\xff\xe0" + bytes(12),
    "image/gif": b"GIF89a" + bytes(10),
    "image/webp": b"RIFF\0\0\0\0WEBPVP8 ",
}


def encode(*, messages: Any = HELLO, extra_body: Any = None, **params: Any) -> Any:
    request = ChatRequest(model="m", messages=messages, params=params, extra_body=extra_body or {})
    return OpenAIImages().encode(request)


def read(payload: Any) -> tuple[list[Chunk], OpenAIImagesDecoder]:
    """Read a body as it comes over the wire: the framer's frames, then the end."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    framer, decoder = OpenAIImages().framer("application/json"), OpenAIImages().decoder()
    chunks = decoder.feed(framer.feed(body)) + decoder.feed(framer.close())
    return chunks + ([] if decoder.done else decoder.close()), decoder


def failure(payload: Any) -> Exception:
    chunks, decoder = read(payload)
    assert (chunks, decoder.done) == ([], False)
    assert decoder.error is not None
    assert decoder.feed([b'{"data": [{"url": "https://x"}]}']) == decoder.close() == []
    return decoder.error


def b64(data: bytes) -> str:
    return b64encode(data).decode()


def test_it_is_a_dialect() -> None:
    dialect: Dialect = OpenAIImages()
    decoder: Decoder = dialect.decoder()
    path = dialect.path_for(ChatRequest(model="m", messages=[]))
    assert (path, dialect.models_path) == (
        "/images/generations",
        "/models",
    )
    assert (decoder.done, decoder.finished, decoder.error) == (False, False, None)
    assert dialect.read_models(b'{"data": [{"id": "m"}]}') == ["m"]
    assert dialect.read_error(b'{"error": {"message": "no", "code": "c"}}') == ("no", "c")


# The body


def test_a_bare_request_is_a_prompt_and_a_model() -> None:
    assert json.dumps(encode()) == '{"prompt": "A fox", "model": "m"}'


def test_the_prompt_is_the_last_user_message_or_the_parameter() -> None:
    parts = [{"type": "text", "text": "A"}, {"type": "text", "text": "hen"}]
    messages = [
        {"role": "system", "content": "Draw."},
        *HELLO,
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "Here."},
    ]
    assert encode(messages=messages)["prompt"] == "A\nhen"
    assert encode(messages=messages, prompt="A dog")["prompt"] == "A dog"
    assert encode(messages=[{"role": "user", "content": [image("https://x")]}], prompt="A dog")["prompt"] == "A dog"


def test_all_fields_keep_their_names_and_none_is_left_out() -> None:
    params = {
        "n": 2,
        "size": "1024x768",
        "quality": "hd",
        "user": "u",
        "response_format": "url",
        "seed": 0,
        "negative_prompt": "rain",
        "aspect_ratio": "1:1",
        "guidance_scale": 7.5,
        "num_inference_steps": 4,
    }
    assert encode(**params, conversation=object()) == {"prompt": "A fox", "model": "m", **params}
    assert encode(n=1, extra_body={"n": None, "style": None, "raw": True}) == {
        "prompt": "A fox",
        "model": "m",
        "raw": True,
    }


def test_width_and_height_make_a_size_unless_there_is_one() -> None:
    assert encode(width=1024, height=768)["size"] == "1024x768"
    assert encode(width=1024, height=768, size="auto")["size"] == "auto"
    for alone in ("width", "height"):
        with pytest.raises(SetupError, match="width= and height= make a size together"):
            encode(**{alone: 64})


def test_what_the_wire_has_no_form_for_is_refused() -> None:
    with pytest.raises(SetupError, match="this service takes no 'temperature', 'tools': leave that out"):
        encode(temperature=1, n=1, tools=[])
    with pytest.raises(SetupError, match="the response_format of images is 'url' or 'b64_json'"):
        encode(response_format={"type": "json_object"})
    with pytest.raises(MessagesError, match="a message holds 'image_url'"):
        encode(messages=[{"role": "user", "content": [image("https://x")]}])
    with pytest.raises(MessagesError, match="there is no user message to make an image of"):
        encode(messages=[{"role": "system", "content": "Draw."}])


# The answer


def test_urls_and_the_revised_prompt_and_the_usage() -> None:
    payload = {
        "created": 1,
        "data": [{"url": "https://x/1"}, {"url": "https://x/2", "revised_prompt": "A red fox"}, {"url": None}],
        "usage": {"input_tokens": 3, "output_tokens": 272, "total_tokens": 275},
    }
    chunks, decoder = read(payload)
    assert chunks == [ImageResponse(("https://x/1", "https://x/2"), "A red fox"), Usage(3, 272)]
    assert (decoder.done, decoder.error) == (True, None)
    assert decoder.feed([json.dumps(payload).encode()]) == []


@pytest.mark.parametrize("mime", HEADS)
def test_base64_becomes_a_data_url_of_the_type_that_its_bytes_show(mime: str) -> None:
    data = b64(HEADS[mime])
    assert read({"data": [{"b64_json": data, "url": ""}]})[0] == [ImageResponse((f"data:{mime};base64,{data}",))]


def test_base64_of_an_unknown_type_passes_for_png_and_a_data_url_for_what_it_says() -> None:
    svg = b64(b"<svg></svg>")
    assert read({"data": [{"b64_json": svg}]})[0] == [ImageResponse((f"data:image/png;base64,{svg}",))]
    url = f"data:image/svg+xml;base64,{svg}"
    assert read({"data": [{"b64_json": url}]})[0] == [ImageResponse((url,))]


def test_usage_by_its_older_names_and_usage_that_is_none() -> None:
    data = [{"url": "https://x"}]
    assert read({"data": data, "usage": {"prompt_tokens": 3, "output_tokens": -1}})[0][1:] == [Usage(3)]
    nothing: list[Any] = [{}, [], "many", {"input_tokens": "3"}, None]
    for usage in nothing:
        assert read({"data": data, "usage": usage})[0] == [ImageResponse(("https://x",))]


def test_an_error_in_a_200_is_the_error_that_it_names() -> None:
    error = failure({"error": {"message": "Slow down.", "code": 429}})
    assert isinstance(error, RateLimitError)
    assert error.message == "Slow down."
    error = failure({"created": 1, "data": [], "error": {"message": "Your prompt was blocked."}})
    assert type(error) is APIStatusError
    assert error.message == "Your prompt was blocked."


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"created": 1, "data": []}, r"no images in '{\"created\": 1"),
        ({"created": 1}, "no images in"),
        ({"data": [{"revised_prompt": "A fox"}]}, "no images in"),
        ({"data": {"url": "https://x"}}, r"Expected `array \| null`, got `object` - at `\$.data` in"),
        ({"data": [{"b64_json": "not base64, is it?"}]}, "Only base64 data is allowed in"),
        (b"", "an empty body came instead of images"),
        (b"oops", r"JSON is malformed.* in 'oops'"),
        (b"[" * 100_000, "in '\\["),
        (b'{"data": "\xff"}', "in '"),
    ],
)
def test_what_holds_no_images_is_an_error_that_shows_its_beginning(payload: Any, why: str) -> None:
    error = failure(payload)
    assert type(error) is APIResponseValidationError
    with pytest.raises(APIResponseValidationError, match=why):
        raise error
    assert len(str(error)) < 500


def test_json_that_was_cut_is_a_cut() -> None:
    assert type(failure(b'{"data": [{"url": "https://')) is TruncatedError


def test_a_web_page_is_an_error_with_its_title() -> None:
    framer = OpenAIImages().framer("text/html")
    with pytest.raises(APIResponseValidationError, match="a web page came instead of an answer: 'Sorry'"):
        framer.feed(b"<html><title>Sorry</title>")
