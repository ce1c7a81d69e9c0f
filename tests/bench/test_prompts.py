"""What is asked: read from anywhere, and never the same twice for a cache."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from g4ftrio import SetupError
from g4ftrio.bench import Prompt, made_up, prompts
from g4ftrio.simulator import uniform

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_prompt_a_list_a_text_file_and_standard_input_are_read(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("Why?\n\nHow?\n")
    for source in (path, ["Why?", "How?"], io.StringIO("Why?\nHow?")):
        found = prompts(source)
        assert [found[number].messages for number in range(3)] == [user("Why?"), user("How?"), user("Why?")]
        assert [found.index(number) for number in range(3)] == [0, 1, 0]
    assert prompts("Why?")[5] == Prompt(user("Why?"))
    assert prompts(found) is found


def test_lines_of_json_bring_messages_and_parameters(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Why?", "max_tokens": 5}\n{"messages": [{"role": "user", "content": "How?"}]}\n')
    found = prompts(path, max_tokens=50)
    assert found[0] == Prompt(user("Why?"), {"max_tokens": 5})
    assert found[1] == Prompt(user("How?"), {"max_tokens": 50})


def test_tools_and_images_pass_through() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "Where?"}, IMAGE]}]
    (found,) = [prompts([{"messages": messages, "tools": [TOOL]}])[0]]
    assert found == Prompt(messages, {"tools": [TOOL]})


def test_a_prefix_comes_before_everything_and_changes_nothing_else() -> None:
    system = prompts([{"prompt": "Why?", "system": "Be brief."}])[0]
    assert [each["content"] for each in system.prefixed("[1] ").messages] == ["[1] Be brief.", "Why?"]
    parts = prompts([{"messages": [{"role": "user", "content": [{"type": "text", "text": "Where?"}, IMAGE]}]}])[0]
    assert parts.prefixed("[1] ").messages[0]["content"][0] == {"type": "text", "text": "[1] "}
    assert parts.prefixed("[1] ").messages[0]["content"][2] == IMAGE
    assert system.messages[0]["content"] == "Be brief."


def test_made_up_prompts_have_their_lengths_and_are_repeated_by_the_seed() -> None:
    found = made_up(uniform(5, 20), max_tokens=uniform(1, 9), seed=3)
    lengths = [len(found[number].messages[0]["content"].split()) for number in range(200)]
    assert (min(lengths), max(lengths)) == (5, 20)
    assert {found[number].params["max_tokens"] for number in range(200)} == set(range(1, 10))
    assert found[7] == made_up(uniform(5, 20), max_tokens=uniform(1, 9), seed=3)[7]
    assert found[7] != found[8]
    assert len(made_up(30)[0].messages[0]["content"].split()) == 30


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no prompt in it"),
        (" \n\n", "there is no prompt in it"),
        ('{"prompt": "Why?"}\n{"prompt"', "line 2 is not JSON"),
        ('{"prompt": "Why?"}\n5', "line 2: write"),
        ('{"question": "Why?"}', "line 1: write"),
        ('{"prompt": "Why?", "messages": []}', "line 1: write"),
        ('{"prompt": "Why?", "max_token": 5}', "line 1: unknown parameter 'max_token': did you mean 'max_tokens'"),
        ('{"prompt": " "}', "line 1: the prompt is empty"),
        ('{"messages": []}', "line 1: there are no messages"),
        ('{"messages": [{"role": "nobody", "content": "x"}]}', "line 1: "),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(SetupError, match=says):
        prompts(path)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        prompts(tmp_path / "none.txt")
    with pytest.raises(SetupError, match="0 prompts: there is no prompt"):
        prompts([])
