"""The OpenAI images wire: a prompt in, pictures out.

Source of the form: https://platform.openai.com/docs/api-reference/images/create; ``seed`` and what follows it among
the fields is what other services on this wire take beside.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from g4ftrio._framing import Framer, framer_for
from g4ftrio._words.chunks import Chunk, ImageResponse, Usage
from g4ftrio._words.errors import (
    APIResponseValidationError,
    MessagesError,
    SetupError,
    TruncatedError,
    opening,
)
from g4ftrio._words.messages import image_type, plain_text
from g4ftrio._words.request import ChatRequest
from g4ftrio.dialects._base import expressed
from g4ftrio.dialects._counts import count
from g4ftrio.dialects._error_body import error_in, read_error
from g4ftrio.dialects._model_list import read_models

__all__ = ("OpenAIImages", "OpenAIImagesDecoder")

_FIELDS = (
    *("n", "size", "quality", "style", "background", "output_format", "output_compression", "moderation", "user"),
    *("response_format", "seed", "negative_prompt", "aspect_ratio", "guidance_scale", "num_inference_steps"),
)
_KNOWN = frozenset({"prompt", "width", "height", *_FIELDS})
_HEAD = 16  # characters of base64, 12 bytes: as many as tell an image's type
_CUT = "Input data was truncated"  # msgspec's words for JSON that ends too early


class OpenAIImages(Struct, frozen=True, kw_only=True):
    """The wire.

    :ivar path: what to append to the API base to have images made
    :ivar models_path: what to append to it to list the models
    """

    path: str = "/images/generations"
    models_path: str = "/models"

    def path_for(self, request: ChatRequest) -> str:  # noqa: ARG002  # one path for all
        """What to append to the API base for a chat."""
        return self.path

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        """Give the request's body; the prompt is the parameter ``prompt``, else the last user message.

        What is None is left out, so ``extra_body`` takes a field out by None.

        :raises SetupError: the wire has no form for a parameter or for its value
        :raises MessagesError: there is no prompt, or more than text in it
        """
        params = expressed(request.params, _KNOWN)
        params["size"] = _size(params)
        if not isinstance(params.get("response_format", ""), str):
            raise SetupError("the response_format of images is 'url' or 'b64_json'")
        body = {"prompt": params.get("prompt") or _prompt(request), "model": request.model}
        body |= {name: params.get(name) for name in _FIELDS}
        body |= request.extra_body
        return {name: value for name, value in body.items() if value is not None}

    def framer(self, content_type: str) -> Framer:
        """Leave the answer whole."""
        return framer_for(content_type)

    def decoder(self) -> OpenAIImagesDecoder:
        """Begin to read an answer."""
        return OpenAIImagesDecoder()

    def read_error(self, body: bytes) -> tuple[str, str]:
        """Find the message and the code in the body of an error answer."""
        return read_error(body)

    def read_models(self, body: bytes) -> list[str]:
        """Read the names of the models out of the list's body.

        :raises APIResponseValidationError: it is no such list
        """
        return read_models(body)


class _Image(Struct, gc=False):
    url: str | None = None
    b64_json: str | None = None
    revised_prompt: str | None = None


class _Answer(Struct):
    data: list[_Image] | None = None
    usage: Any = None


_decode = msgspec.json.Decoder(_Answer).decode
_UNREADABLE = (ValueError, RecursionError)  # all that a decoder of JSON, UTF-8 and base64 raises


class OpenAIImagesDecoder:
    """Reads one answer, which is one JSON value; see :class:`g4ftrio.dialects._base.Decoder`."""

    def __init__(self) -> None:
        self.done = False
        self.finished = False
        self.error: Exception | None = None

    def feed(self, frames: Sequence[bytes]) -> list[Chunk]:
        """Read the answer."""
        if self.done or self.error is not None or not frames:
            return []
        chunks: list[Chunk] = []
        try:
            chunks += _chunks(_decode(frames[0]))
        except _UNREADABLE as error:
            self.error = _judged(frames[0], error)
        else:
            self.done = bool(chunks)
            self.error = None if chunks else _judged(frames[0])
        return chunks

    def close(self) -> list[Chunk]:
        """Say that no frame follows."""
        if not self.done and self.error is None:
            self.error = APIResponseValidationError("an empty body came instead of images")
        return []


def _size(params: dict[str, Any]) -> str | None:
    width, height = params.get("width"), params.get("height")
    if (width is None) is not (height is None):
        raise SetupError("width= and height= make a size together: give both, or size=")
    size: str | None = params.get("size")
    return size if size is not None or width is None else f"{width}x{height}"


def _prompt(request: ChatRequest) -> str:
    for message in reversed(request.messages):
        if message["role"] == "user":
            return plain_text(message)
    raise MessagesError("there is no user message to make an image of")


def _chunks(answer: _Answer) -> list[Chunk]:
    """Give nothing where there are no images."""
    images = [(url, image.revised_prompt or "") for image in answer.data or () if (url := _url(image))]
    if not images:
        return []
    alt = next((said for _, said in images if said), "")
    return [ImageResponse(tuple(url for url, _ in images), alt), *_usage(answer.usage)]


def _url(image: _Image) -> str:
    data = image.b64_json
    if not data or data.startswith("data:"):
        return data or image.url or ""
    return f"data:{image_type(a2b_base64(data[:_HEAD], strict_mode=True)) or 'image/png'};base64,{data}"


def _usage(usage: Any) -> list[Chunk]:
    read, written = (
        next((n for name in names if (n := count(usage, name)) is not None), None)
        for names in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens"))
    )
    return [] if read is None and written is None else [Usage(read, written)]


def _judged(body: bytes, error: Exception | None = None) -> Exception:
    """Tell what an answer without images is: the service's error, one that was cut, or nothing that can be read."""
    if error is not None and str(error) == _CUT:
        return TruncatedError("it ended in the middle of the JSON")
    try:
        said = error_in(msgspec.json.decode(body))
    except _UNREADABLE:
        said = None
    return said or APIResponseValidationError(f"{error or 'no images'} in {opening(body, 200)!r}")
