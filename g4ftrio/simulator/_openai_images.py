"""The images wire read backwards: a request's body in, pictures out.

Source of the form: https://platform.openai.com/docs/api-reference/images/create
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from g4ftrio._words.chunks import ImageResponse, Usage
from g4ftrio.simulator._wire import Ask, Frame, Item, Pictures

__all__ = ("ImagesRenderer", "read_images")

_encode = msgspec.json.Encoder().encode
_LARGEST = 4096  # pixels on a side
_BASE64 = "data:image/png;base64,"


class _Body(Struct):
    model: str
    prompt: Annotated[str, Meta(min_length=1, max_length=32_000)]
    n: Annotated[int, Meta(ge=1, le=10)] = 1
    size: Annotated[str, Meta(pattern=r"^([1-9]\d{0,3}x[1-9]\d{0,3}|auto)$")] = "auto"
    response_format: Literal["url", "b64_json"] = "b64_json"
    stream: bool | None = None


def read_images(body: Any) -> Ask:
    """Read a request's body.

    :raises ValueError: says what is wrong with it
    """
    asked = msgspec.convert(body, _Body)
    if asked.stream:
        raise ValueError("pictures are not streamed - at `$.stream`")
    width, height = (64, 64) if asked.size == "auto" else map(int, asked.size.split("x"))
    if max(width, height) > _LARGEST:
        raise ValueError(f"size is {_LARGEST}x{_LARGEST} at most")
    return Ask(
        model=asked.model,
        prompt=asked.prompt,
        input_tokens=len(asked.prompt.split()),
        pictures=Pictures(asked.n, width, height, as_url=asked.response_format == "url"),
    )


class ImagesRenderer:
    """Writes one answer; a URL in it is a ``data:`` one, so that the picture is there wherever it is looked at."""

    def __init__(self, ask: Ask, created: int) -> None:
        self._as_url = ask.pictures is not None and ask.pictures.as_url
        self._created = created

    def frame(self, item: Item) -> bytes:
        """Refuse: ``read_images`` lets no streamed answer be asked for."""
        raise NotImplementedError("pictures are not streamed")

    def whole(self, items: Sequence[Item]) -> bytes:
        """Give the body; text has no form on this wire."""
        frames = [item.data for item in items if isinstance(item, Frame)]
        if frames:
            return frames[-1]
        answer: dict[str, Any] = {"created": self._created, "data": []}
        for item in items:
            if isinstance(item, ImageResponse):
                answer["data"] += [self._picture(url, item.alt) for url in item.images]
            elif isinstance(item, Usage):
                answer["usage"] = _usage(item)
        return _encode(answer)

    def _picture(self, url: str, alt: str) -> dict[str, Any]:
        shown = {"url": url} if self._as_url else {"b64_json": url.removeprefix(_BASE64)}
        return {**shown, "revised_prompt": alt}


def _usage(usage: Usage) -> dict[str, Any]:
    asked, drawn = usage.input_tokens or 0, usage.output_tokens or 0
    details = {"text_tokens": asked, "image_tokens": 0}
    return {
        "input_tokens": asked,
        "output_tokens": drawn,
        "total_tokens": asked + drawn,
        "input_tokens_details": details,
    }
