"""What callers write becomes messages that a dialect can encode, or an error before anything is sent."""

from __future__ import annotations

import copy
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from g4ftrio._words.errors import MessagesError
from g4ftrio._words.messages import attach, audio, file, fold_system, image, image_type, normalize, plain_text

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def url(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{b64encode(data).decode()}"


def test_a_prompt_becomes_a_user_message() -> None:
    assert normalize("Hi") == [{"role": "user", "content": "Hi"}]


def test_system_is_put_first() -> None:
    expected = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert normalize("Hi", "Be brief.") == expected
    assert normalize(expected[1:], system="Be brief.") == expected


@pytest.mark.parametrize("role", ["system", "developer"])
def test_two_system_messages_from_two_sides_are_refused(role: str) -> None:
    with pytest.raises(MessagesError, match="system= was given, and the messages hold a system message already"):
        normalize([{"role": role, "content": "a"}, {"role": "user", "content": "b"}], system="c")


def test_a_whole_conversation_passes() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}, image(PNG)], "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "3"},
        {"role": "assistant", "content": ""},
        {"role": "function", "name": "f", "content": "3"},
    ]
    assert normalize(messages) == messages
    assert normalize(tuple(messages)) == messages


def test_the_callers_own_are_copied_and_never_changed() -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "b"}]}]
    before = copy.deepcopy(messages)
    made = normalize(messages, "s")
    made[1]["content"][0]["text"] = "changed"
    made[1]["content"].append("more")
    made[1]["role"] = "tool"
    assert messages == before


def test_text_among_the_parts_and_models_of_other_libraries_are_understood() -> None:
    class Model:
        def model_dump(self, *, exclude_none: bool) -> dict[str, Any]:
            assert exclude_none
            return {"role": "user", "content": ["a"]}

    given: Any = [Model()]
    assert normalize(given) == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


def user(content: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ("", "the prompt is empty"),
        (" \n", "the prompt is empty"),
        ([], "there are no messages"),
        (user(""), "the prompt is empty: the last user message has no content"),
        (user([{"type": "text", "text": " "}]), "the prompt is empty"),
        (user(None), r"messages\[0\] has no content; only an assistant's message with tool_calls may have none"),
        ([{"role": "assistant", "content": None, "tool_calls": []}], r"messages\[0\] has no content"),
        (user([]), r"messages\[0\].content is an empty list"),
        (user(5), r"messages\[0\].content must be text or a list of parts, not int"),
        (user({"type": "text"}), "must be text or a list of parts, not dict"),
        (user([{"type": "hologram"}]), r"messages\[0\].content\[0\] has the unknown type 'hologram'"),
        (user([{"text": "a"}]), "has the unknown type None"),
        (user([{"type": ["text"]}]), "has the unknown type"),
        (user([{"type": "text"}]), "is of type 'text' and lacks a 'text' of the right form"),
        (user([{"type": "image_url", "image_url": 5}]), "lacks a 'image_url' of the right form"),
        (user([5]), r"messages\[0\].content\[0\] must be a mapping"),
        ([{"content": "a"}], r"messages\[0\] has no role: it must be one of system, developer, user"),
        ([*user("a"), {"role": "bot", "content": "a"}], r"messages\[1\] has the unknown role 'bot'"),
        (["Hi"], r"messages\[0\] must be a mapping with a role and content, not str"),
        ({"role": "user", "content": "a"}, "messages must be a prompt or a list of messages, not dict"),
        (b"Hi", "messages must be a prompt or a list of messages, not bytes"),
        (None, "not NoneType"),
    ],
)
def test_what_no_service_could_read_is_refused_in_words(messages: Any, why: str) -> None:
    with pytest.raises(MessagesError, match=why):
        normalize(messages)


def test_folding_puts_what_the_system_says_before_the_first_user_message() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
        {"role": "developer", "content": [{"type": "text", "text": "d"}]},
        {"role": "user", "content": "e"},
    ]
    before = copy.deepcopy(messages)
    assert fold_system(messages) == [
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "a\n\nd\n\nc"},
        {"role": "user", "content": "e"},
    ]
    assert messages == before


def test_folding_before_parts_makes_a_part_and_without_a_user_message_makes_one() -> None:
    system = {"role": "system", "content": "a"}
    parts = [image("https://x/y.png")]
    folded = fold_system([system, {"role": "user", "content": parts}])
    assert folded == [{"role": "user", "content": [{"type": "text", "text": "a"}, *parts]}]
    assert fold_system([system]) == [{"role": "user", "content": "a"}]
    assert fold_system([{"role": "user", "content": "b"}]) == [{"role": "user", "content": "b"}]


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89arest", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_an_image_is_known_by_its_bytes(data: bytes, mime: str, tmp_path: Path) -> None:
    expected = {"type": "image_url", "image_url": {"url": url(mime, data)}}
    path = tmp_path / "picture.txt"
    path.write_bytes(data)
    assert image(data) == image(path) == image(str(path)) == expected


def test_an_images_url_passes() -> None:
    for address in ("https://example.org/a.png", "data:image/png;base64,AA=="):
        assert image(address) == {"type": "image_url", "image_url": {"url": address}}
    assert image("https://a", detail="low")["image_url"] == {"url": "https://a", "detail": "low"}


def test_what_is_no_image_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("hello")
    with pytest.raises(MessagesError, match=r"a\.png' is not an image that services read: PNG, JPEG, GIF or WebP"):
        image(path)
    with pytest.raises(MessagesError, match="these bytes are not an image"):
        image(b"hello")
    with pytest.raises(MessagesError, match=r"missing\.png' cannot be read: No such file or directory"):
        image(tmp_path / "missing.png")
    with pytest.raises(MessagesError, match="cannot be read"):
        image(tmp_path)
    with pytest.raises(MessagesError, match="cannot be read: embedded null byte"):
        image("a\0b")


def test_a_sounds_format_is_seen_from_its_bytes_or_its_name_or_said(tmp_path: Path) -> None:
    wav = b"RIFF\x00\x00\x00\x00WAVEfmt "
    data = b64encode(wav).decode()
    assert audio(wav) == {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    assert audio(b"ID3x")["input_audio"]["format"] == "mp3"
    path = tmp_path / "a.M4A"
    path.write_bytes(b"?")
    assert audio(path)["input_audio"]["format"] == "m4a"
    assert audio(b"?", format="pcm16")["input_audio"]["format"] == "pcm16"
    with pytest.raises(MessagesError, match="pass format="):
        audio(b"?")


def test_a_file_carries_its_name_and_type(tmp_path: Path) -> None:
    pdf = b"%PDF-1.7 "
    path = tmp_path / "report.csv"
    path.write_bytes(b"a,b")
    named = {"filename": "file.pdf", "file_data": url("application/pdf", pdf)}
    assert file(pdf) == {"type": "file", "file": named}
    assert file(path)["file"] == {"filename": "report.csv", "file_data": url("text/csv", b"a,b")}
    assert file(b"?")["file"] == {"filename": "file", "file_data": url("application/octet-stream", b"?")}
    assert file(b"?", filename="a.txt", mime="text/x")["file"] == {
        "filename": "a.txt",
        "file_data": url("text/x", b"?"),
    }
    assert normalize(user([file(pdf), audio(b"ID3")]))[0]["content"][0] == file(pdf)


# Media beside the messages

WAV = b"RIFF\x00\x00\x00\x00WAVEfmt "


def attached(*media: Any) -> list[Any]:
    """The parts that these media become."""
    [message] = attach([], media)
    assert message["role"] == "user"
    parts: list[Any] = message["content"]
    return parts


def test_media_stand_behind_the_text_of_the_last_user_message_and_nothing_given_is_changed() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b", "name": "Ann"},
        {"role": "assistant", "content": "c"},
    ]
    before = copy.deepcopy(messages)
    made = attach(messages, ["https://x/y.png", PNG])
    parts = [{"type": "text", "text": "b"}, image("https://x/y.png"), image(PNG)]
    assert made == [before[0], {"role": "user", "content": parts, "name": "Ann"}, before[2]]
    assert messages == before
    again = attach(made, [PNG])
    assert again[1]["content"] == [*parts, image(PNG)]
    assert made[1]["content"] == parts
    assert normalize(again) == again


def test_without_media_nothing_changes_and_without_a_user_message_there_is_one() -> None:
    messages = [{"role": "system", "content": "a"}]
    assert attach(messages, []) == messages
    assert attach(messages, []) is not messages
    assert attach(messages, [PNG]) == [*messages, {"role": "user", "content": [image(PNG)]}]
    assert attach([{"role": "user", "content": ""}], [PNG]) == [{"role": "user", "content": [image(PNG)]}]


def test_what_is_attached_becomes_a_part_by_its_bytes_or_its_name(tmp_path: Path) -> None:
    picture, sound, table = tmp_path / "a.png", tmp_path / "b.m4a", tmp_path / "c.csv"
    picture.write_bytes(PNG)
    sound.write_bytes(b"?")
    table.write_bytes(b"a,b")
    assert attached(picture, str(sound), table) == [image(PNG), audio(b"?", format="m4a"), file(table)]
    assert attached(PNG, WAV, b"%PDF-1.7", b"?") == [image(PNG), audio(WAV), file(b"%PDF-1.7"), file(b"?")]
    assert attached(bytearray(PNG), memoryview(WAV)) == [image(PNG), audio(WAV)]


def test_a_pair_gives_the_file_a_name(tmp_path: Path) -> None:
    path = tmp_path / "download"
    path.write_bytes(b"a,b")
    assert attached((b"a,b", "t.csv"), (path, "t.csv"), [b"a,b", "t.csv"]) == [file(b"a,b", filename="t.csv")] * 3
    assert attached((path, None), (PNG, None)) == [file(path), image(PNG)]
    assert attached((b"?", "song.MP3"), (WAV, "song.mp3")) == [audio(b"?", format="mp3"), audio(WAV, format="wav")]
    assert attached((PNG, "a.txt"), ("https://x/y", "y.png")) == [image(PNG), image("https://x/y")]


def test_a_data_url_is_read_where_it_is_no_image() -> None:
    picture = "data:image/svg+xml;base64,AA=="
    pdf = url("application/pdf", b"%PDF-1.7")
    assert attached(picture, pdf) == [image(picture), file(b"%PDF-1.7")]
    assert attached(url("audio/mpeg", b"?"), url("audio/wav", WAV)) == [audio(b"?", format="mp3"), audio(WAV)]
    assert attached(url("audio/mp3", b"?")) == [audio(b"?", format="mp3")]
    [part] = attached(("data:text/csv;charset=utf-8,a%2Cb", "t.csv"))
    assert part == file(b"a,b", filename="t.csv", mime="text/csv")
    [part] = attached("data:,hello")
    assert part == file(b"hello")
    with pytest.raises(MessagesError, match=r"media\[1\] is a data: URL that cannot be read"):
        attached(PNG, "data:application/pdf;base64,AAA")


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (3, r"media\[0\] must be a URL, a path, bytes, or one of these with a file name, not int"),
        ((PNG, 3), r"media\[0\] must be .*, not tuple"),
        ((PNG, "a", "b"), r"not tuple"),
        ((None, "a"), r"not NoneType"),
        ("missing.pdf", r"the file 'missing.pdf' cannot be read: No such file"),
        ((b"BM", "a.bmp"), r"the file 'a.bmp' is not an image that services read: PNG, JPEG, GIF or WebP"),
    ],
)
def test_what_cannot_be_attached_is_refused_in_words(item: Any, why: str) -> None:
    with pytest.raises(MessagesError, match=why):
        attach([{"role": "user", "content": "a"}], [item])


def test_an_image_is_told_from_its_first_twelve_bytes() -> None:
    assert image_type(PNG[:12]) == "image/png"
    assert image_type(b"RIFF\0\0\0\0WEBP") == "image/webp"
    assert image_type(WAV) == image_type(b"") == ""


# Text alone


def test_the_text_of_a_message_is_its_text_parts_line_by_line() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert plain_text({"role": "user", "content": parts}) == "a\nb"
    assert plain_text({"role": "user", "content": "a"}) == "a"


@pytest.mark.parametrize(
    ("message", "held"),
    [
        ({"role": "user", "content": [{"type": "text", "text": "a"}, file(b"?")]}, "file"),
        ({"role": "assistant", "content": "a", "audio": {"id": "x"}}, "audio"),
        ({"role": "assistant", "content": None, "tool_calls": [{}]}, "tool_calls"),
    ],
)
def test_a_message_of_more_than_text_has_no_plain_text(message: dict[str, Any], held: str) -> None:
    with pytest.raises(MessagesError, match=f"this service takes text only, and a message holds '{held}'"):
        plain_text(message)
