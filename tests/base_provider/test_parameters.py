"""What may come from outside, and the form that a provider's own method is shown as."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from inspect import Parameter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, List, Literal, Optional, TypedDict, Union, Unpack  # noqa: UP035  # as users do

import pytest

from g4ftrio import AuthResult, SetupError, Timeout
from g4ftrio.base_provider import (
    BASIC_PARAMETERS,
    PARAMETER_EXAMPLES,
    SAFE_PARAMETERS,
    AbstractProvider,
    AsyncAuthedProvider,
    AsyncGeneratorProvider,
    AsyncProvider,
    safe_parameters,
)
from g4ftrio.providers import Aura, Jmuz, OpenAI, Ylokh
from g4ftrio.typing import AsyncResult, CreateResult, Media, Messages

if TYPE_CHECKING:
    from decimal import Decimal

BOTH = [{"role": "system", "content": ""}, {"role": "user", "content": ""}]


# The tables.


def test_safe_parameters_are_those_of_the_contract() -> None:
    assert set(SAFE_PARAMETERS) == {
        *("model", "messages", "stream", "timeout", "proxy", "media", "response_format", "prompt", "negative_prompt"),
        *("tools", "conversation", "history_disabled", "temperature", "top_k", "top_p", "frequency_penalty"),
        *("presence_penalty", "max_tokens", "stop", "api_key", "api_base", "seed", "width", "height", "max_retries"),
        *("web_search", "guidance_scale", "num_inference_steps", "randomize_seed", "safe", "enhance", "private"),
        *("aspect_ratio", "n", "reasoning_effort"),
    }
    assert len(SAFE_PARAMETERS) == len(set(SAFE_PARAMETERS)) == 35


def test_basic_parameters_are_those_of_the_contract_with_their_defaults() -> None:
    assert BASIC_PARAMETERS == {
        "provider": None,
        "model": "",
        "messages": [],
        "stream": False,
        "timeout": 0,
        "response_format": None,
        "max_tokens": 4096,
        "stop": ["stop1", "stop2"],
    }


def test_parameter_examples_are_those_of_the_contract() -> None:
    assert PARAMETER_EXAMPLES == {
        "proxy": "http://user:password@127.0.0.1:3128",
        "temperature": 1,
        "top_k": 1,
        "top_p": 1,
        "frequency_penalty": 1,
        "presence_penalty": 1,
        "messages": BOTH,
        "media": [["data:image/jpeg;base64,...", "filename.jpg"]],
        "response_format": {"type": "json_object"},
        "conversation": {"conversation_id": "550e8400-e29b-11d4-a716-446655440000", "message_id": "..."},
        "seed": 42,
        "tools": [],
    }
    assert json.loads(json.dumps(PARAMETER_EXAMPLES)) == PARAMETER_EXAMPLES


# What comes from outside.


def test_safe_parameters_lets_every_safe_name_pass_as_it_is() -> None:
    given = {name: f"value of {name}" for name in SAFE_PARAMETERS if name not in ("api_base", "proxy", "media")}
    assert safe_parameters(given) == given


@pytest.mark.parametrize(
    "name",
    [
        *("base_url", "http_client", "headers", "extra_headers", "extra_body", "executor", "loop", "webdriver"),
        *("cookies", "api_endpoint", "provider", "API_BASE", "Proxy", "cache_file", "auth_result", "backend", "system"),
    ],
)
def test_safe_parameters_leaves_out_what_is_not_on_the_list(name: str) -> None:
    assert safe_parameters({name: "https://elsewhere.example", "seed": 1}) == {"seed": 1}


@pytest.mark.parametrize("name", ["api_base", "proxy"])
def test_an_address_from_outside_is_refused_because_it_would_send_a_key_elsewhere(name: str) -> None:
    with pytest.raises(SetupError, match=f"{name} from outside would send keys elsewhere"):
        safe_parameters({name: "https://elsewhere.example", "model": "m"})


@pytest.mark.parametrize(("name", "other"), [("api_base", "proxy"), ("proxy", "api_base")])
def test_an_application_may_allow_one_address_and_not_the_other(name: str, other: str) -> None:
    assert safe_parameters({name: "https://mine.example"}, allow=[name]) == {name: "https://mine.example"}
    with pytest.raises(SetupError, match=f"{other} from outside"):
        safe_parameters({name: "https://mine.example", other: "https://elsewhere.example"}, allow=[name])


@pytest.mark.parametrize("empty", ["", None])
def test_an_address_that_names_nothing_is_none(empty: object) -> None:
    assert safe_parameters({"api_base": empty, "proxy": empty}) == {"api_base": empty, "proxy": empty}


@pytest.mark.parametrize(
    "media",
    [
        ["https://web.example/a.png"],
        ["http://web.example/a.png", "data:image/png;base64,AAAA"],
        [["data:image/png;base64,AAAA", "a.png"]],
        [("https://web.example/a.png", None)],
        [b"the bytes themselves"],
        [],
        None,
    ],
)
def test_media_from_outside_may_be_on_the_web_or_bring_their_own_bytes(media: object) -> None:
    assert safe_parameters({"media": media}) == {"media": media}


@pytest.mark.parametrize(
    "media",
    [
        ["/etc/passwd"],
        ["passwd"],
        ["../.env"],
        ["~/.ssh/id_ed25519"],
        ["C:\\Windows\\win.ini"],
        ["\\\\elsewhere.example\\share\\a"],
        ["file:///etc/passwd"],
        ["FILE:///etc/passwd"],
        ["ftp://elsewhere.example/a"],
        ["https:/etc/passwd"],
        [" https://web.example/a.png"],
        ["HTTPS://web.example/a.png"],
        ["data"],
        [""],
        [None],
        [3],
        [["/etc/passwd", "a.png"]],
        [("/etc/passwd", "https://web.example/a.png")],
        [[["/etc/passwd"], "a.png"]],
        [[["https://web.example/a.png"]]],
        [[]],
        [{"url": "/etc/passwd"}],
        [{"https://web.example": "/etc/passwd"}],
        {"https://web.example": "/etc/passwd"},
        [Path("/etc/passwd")],
        [[Path("/etc/passwd"), "a.png"]],
        [PurePosixPath("data:a")],
        [Path("data:a")],
        [bytearray(b"/etc/passwd")],
        ["https://web.example/a.png", "/etc/passwd"],
        "/etc/passwd",
        "https://web.example/a.png",
        b"/etc/passwd",
        iter(["https://web.example/a.png"]),
        7,
    ],
    ids=repr,
)
def test_media_from_outside_that_could_be_a_file_of_this_machine_are_refused(media: object) -> None:
    with pytest.raises(SetupError, match="a path would send a file of this machine"):
        safe_parameters({"media": media})


def test_a_path_that_says_it_is_a_url_is_refused_in_every_guise() -> None:
    class Guise(os.PathLike[str]):
        def __fspath__(self) -> str:
            return "/etc/passwd"

        def __str__(self) -> str:
            return "https://web.example/a.png"

    for media in ([Guise()], [[Guise(), "a.png"]]):
        with pytest.raises(SetupError, match="a path would send a file"):
            safe_parameters({"media": media})


# The parameters of the written method.


class Known(AsyncGeneratorProvider):
    default_model = "its-default"

    async def create_async_generator(
        self,
        model: str,
        messages: Messages,
        stream: bool = True,
        proxy: Optional[str] = None,  # noqa: UP045  # as users do
        top_k: int = 5,
        cookies: dict[str, str] | None = None,
        **kw: Any,
    ) -> AsyncResult:
        yield ""


class KnownCoroutine(AsyncProvider):
    async def create_async(self, model: str, messages: Messages, seed: int = 7, **kw: Any) -> str:
        return ""


class KnownSync(AbstractProvider):
    supports_stream = True

    def create_completion(
        self, model: str, messages: Messages, stream: bool = False, safe: bool = True, **kw: Any
    ) -> CreateResult:
        yield ""


class KnownAuthed(AsyncAuthedProvider):
    async def create_authed(
        self, model: str, messages: Messages, auth_result: AuthResult, stream: bool = True, n: int = 2, **kw: Any
    ) -> AsyncResult:
        yield ""


@pytest.mark.parametrize("on", ["class", "instance"])
@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (Known, ["model", "messages", "stream", "proxy", "top_k"]),
        (KnownCoroutine, ["model", "messages", "seed"]),
        (KnownSync, ["model", "messages", "stream", "safe"]),
        (KnownAuthed, ["model", "messages", "stream", "n"]),
    ],
)
def test_get_parameters_gives_the_safe_ones_of_the_method_that_the_subclass_writes(
    cls: type[AbstractProvider], names: list[str], on: str
) -> None:
    found = (cls if on == "class" else cls()).get_parameters()
    assert list(found) == names
    assert all(isinstance(parameter, Parameter) for parameter in found.values())


def test_get_parameters_gives_real_defaults_and_evaluated_types() -> None:
    found = Known.get_parameters()
    assert (found["top_k"].default, found["top_k"].annotation) == (5, int)
    assert (found["proxy"].default, found["proxy"].annotation) == (None, Optional[str])  # noqa: UP045  # as above
    assert found["model"].default is Parameter.empty


class Silent(Known):
    supports_stream = False


class ChildOfKnown(Known):
    pass


class WritesAnother(Known):
    """The base's method is inherited, but a door is written that get_parameters does not read."""

    async def create_async(self, model: str, messages: Any, width: int = 3, **kw: Any) -> str:
        return ""


class WritesItAgain(Known):
    async def create_async_generator(self, *args: Any, height: int = 9, **kw: Any) -> AsyncResult:
        yield ""


class CoroutineOverSync(KnownSync):
    async def create_async(self, model: str, messages: Messages, *, width: int = 3, **kw: Any) -> str:
        return ""


def test_stream_is_left_out_where_streaming_is_not_supported() -> None:
    assert "stream" not in Silent.get_parameters()
    assert "stream" not in KnownCoroutine.get_parameters()
    assert "stream" in Known.get_parameters()


def test_get_parameters_reads_the_method_that_is_really_written_and_inherited() -> None:
    assert list(ChildOfKnown.get_parameters()) == list(Known.get_parameters())
    assert list(WritesAnother.get_parameters()) == list(Known.get_parameters())
    assert list(WritesItAgain.get_parameters()) == ["height"]
    assert list(CoroutineOverSync.get_parameters()) == ["model", "messages", "width"]


def test_get_parameters_of_a_base_are_those_of_the_synchronous_door() -> None:
    assert list(AbstractProvider.get_parameters()) == ["model", "messages"]
    assert list(AsyncProvider.get_parameters()) == ["model", "messages"]
    assert list(AsyncGeneratorProvider.get_parameters()) == ["model", "messages", "stream"]


class Statically(AsyncGeneratorProvider):
    @staticmethod
    async def create_async_generator(model: str, messages: Messages, seed: int = 3, **kw: Any) -> AsyncResult:
        yield ""


class ByClass(AsyncGeneratorProvider):
    @classmethod
    async def create_async_generator(cls, model: str, messages: Messages, seed: int = 3, **kw: Any) -> AsyncResult:
        yield ""


@pytest.mark.parametrize("cls", [Statically, ByClass])
def test_get_parameters_reads_static_and_class_methods(cls: type[AbstractProvider]) -> None:
    assert list(cls.get_parameters()) == ["model", "messages", "seed"]
    assert cls.get_parameters(as_json=True)["seed"] == 3


class Extra(TypedDict, total=False):
    temperature: float
    cookies: str
    reasoning_effort: Literal["low", "high"]


class ByTypedDict(AsyncGeneratorProvider):
    async def create_async_generator(
        self, model: str, messages: Messages, stream: bool = True, **kw: Unpack[Extra]
    ) -> AsyncResult:
        yield ""


def test_an_unpacked_typed_dict_is_expanded_and_filtered() -> None:
    found = ByTypedDict.get_parameters()
    assert list(found) == ["model", "messages", "stream", "temperature", "reasoning_effort"]
    assert (found["temperature"].default, found["temperature"].annotation) == (None, float)
    form = ByTypedDict.get_parameters(as_json=True)
    assert (form["temperature"], form["reasoning_effort"]) == (1, "low")


def test_openai_s_own_parameters_are_expanded() -> None:
    found = OpenAI.get_parameters()
    wanted = {"model", "messages", "stream", "temperature", "top_p", "max_tokens", "stop", "seed", "tools", "api_key"}
    assert wanted <= found.keys() <= set(SAFE_PARAMETERS)
    assert found["temperature"].annotation is float
    form = OpenAI.get_parameters(as_json=True)
    assert (form["provider"], form["stream"], form["temperature"], form["timeout"]) == ("OpenAI", True, 1, 0)


@pytest.mark.parametrize("cls", [Jmuz, Ylokh, Aura])
def test_the_documents_providers_show_their_own_parameters(cls: Any) -> None:
    found, form = cls.get_parameters(), cls.get_parameters(as_json=True)
    assert found.keys() <= form.keys()
    assert (form["provider"], form["model"]) == (cls.__name__, cls.default_model)
    assert cls.params.startswith(f"{cls.__name__} supports: (\n    model: str = {cls.default_model!r},\n    messages: ")
    assert json.loads(json.dumps(form)) == form


def test_aura_shows_the_defaults_of_the_documents() -> None:
    form = Aura.get_parameters(as_json=True)
    assert (form["temperature"], form["max_tokens"]) == (0.5, 8192)


# As JSON.


class Colour(StrEnum):
    RED = "red"


class Plain(TypedDict):
    a: int


IN_STRINGS = (Callable, Iterable, Mapping, Sequence, List, Union, Timeout)  # noqa: UP006  # below, where no linter looks


def form_of(annotation: str, *, name: str = "prompt", default: object = None) -> Any:
    """The value that a parameter of this type gets in the form; the annotation is a string, as everywhere here."""

    def create_completion(self: Any, model: str, **kw: Any) -> CreateResult:
        yield ""

    create_completion.__annotations__ = {name: annotation, "return": "CreateResult"}
    create_completion.__signature__ = signature_of(name, annotation, default)  # type: ignore[attr-defined]  # it is looked for there
    cls: Any = type("Made", (AbstractProvider,), {"create_completion": create_completion})
    return cls.get_parameters(as_json=True)[name]


def signature_of(name: str, annotation: Any, default: object) -> Any:
    from inspect import Signature

    this = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    return Signature([this, Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)])


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("bool", False),
        ("int", 0),
        ("float", 0.0),
        ("str", ""),
        ("list", []),
        ("list[str]", []),
        ("List[int]", []),
        ("dict", {}),
        ("dict[str, int]", {}),
        ("tuple[int, ...]", []),
        ("Sequence[str]", []),
        ("Iterable[str]", []),
        ("Mapping[str, Any]", {}),
        ("Plain", {}),
        ("Optional[bool]", False),
        ("Optional[int]", 0),
        ("bool | None", False),
        ("None | str", ""),
        ("Union[None, float, str]", 0.0),
        ("int | str", 0),
        ("Timeout | float | None", 0.0),
        ("Callable[[], str] | str | None", ""),
        ("Literal['low', 'high']", "low"),
        ("Literal[3]", 3),
        ("Literal[Colour.RED]", "red"),
        ("Literal[b'x']", None),
        ("Optional[Literal['low']]", "low"),
        ("Annotated[bool, 'yes or no']", False),
        ("Any", None),
        ("None", None),
        ("object", None),
        ("Decimal", None),
        ("Optional[Decimal]", None),
        ("not a type at all", None),
    ],
)
def test_a_parameter_without_default_and_example_has_a_value_of_its_type(annotation: str, value: object) -> None:
    for default in (None, Parameter.empty):
        found = form_of(annotation, default=default)
        assert (found, type(found)) == (value, type(value))


def test_the_value_of_a_bool_is_false_and_not_0() -> None:
    assert form_of("bool", name="enhance") is False


@pytest.mark.parametrize("annotation", [bool, Optional[bool], bool | None, Annotated[bool, "or not"]])  # noqa: UP045  # as users do
def test_annotations_that_are_no_strings_are_read_as_well(annotation: Any) -> None:
    source = "def create_completion(self, model, messages, safe: T = None, **kw): ..."
    names: dict[str, Any] = {"T": annotation}
    exec(compile(source, "<a module without the __future__ import>", "exec", dont_inherit=True), names)
    cls: Any = type("Made", (AbstractProvider,), {"create_completion": names["create_completion"]})
    assert cls.get_parameters(as_json=True)["safe"] is False


@pytest.mark.parametrize(
    ("default", "value"),
    [
        (3, 3),
        (False, False),
        (0, 0),
        ("", ""),
        ("text", "text"),
        (0.25, 0.25),
        ([1, {"a": None}], [1, {"a": None}]),
        (("a", "b"), ["a", "b"]),
        ({"a": (1,)}, {"a": [1]}),
        (Colour.RED, "red"),
        (object(), ""),
        (float("inf"), ""),
        (float("nan"), ""),
        ({1: "no JSON"}, ""),
        ([b"no JSON"], ""),
    ],
    ids=repr,
)
def test_a_real_default_goes_before_all_where_it_is_json(default: object, value: object) -> None:
    assert form_of("str", default=default) == value


@pytest.mark.parametrize("name", PARAMETER_EXAMPLES)
def test_an_example_goes_before_a_value_of_the_type_and_behind_a_real_default(name: str) -> None:
    assert form_of("str", name=name) == PARAMETER_EXAMPLES[name]
    assert form_of("str", name=name, default="real") == "real"


def test_the_form_has_the_basic_parameters_and_is_filled_in_with_provider_model_and_stream() -> None:
    assert Known.get_parameters(as_json=True) == {
        "provider": "Known",
        "model": "its-default",
        "messages": BOTH,
        "stream": True,
        "timeout": 0,
        "response_format": None,
        "max_tokens": 4096,
        "stop": ["stop1", "stop2"],
        "proxy": "http://user:password@127.0.0.1:3128",
        "top_k": 5,
    }
    form = KnownCoroutine.get_parameters(as_json=True)
    assert (form["provider"], form["model"], form["stream"], form["seed"]) == ("KnownCoroutine", "", False, 7)
    assert Silent.get_parameters(as_json=True)["stream"] is False


def test_the_form_of_an_instance_names_its_model() -> None:
    assert Known(model="bound").get_parameters(as_json=True)["model"] == "bound"


def test_the_example_of_messages_has_no_system_message_where_that_is_not_supported() -> None:
    class NoSystem(Known):
        supports_system_message = False

    assert NoSystem.get_parameters(as_json=True)["messages"] == BOTH[1:]


@pytest.mark.parametrize("cls", [Known, KnownCoroutine, KnownSync, KnownAuthed, OpenAI, Jmuz, Ylokh, Aura])
def test_the_form_is_plain_json_and_nobody_else_s(cls: type[AbstractProvider]) -> None:
    form = cls.get_parameters(as_json=True)
    assert json.loads(json.dumps(form, allow_nan=False)) == form
    for value in form.values():
        if isinstance(value, list):
            value.append("changed")
    form["messages"][0]["content"] = "changed"
    form["stop"] = "changed"
    assert "changed" not in json.dumps(
        [cls.get_parameters(as_json=True), BASIC_PARAMETERS, PARAMETER_EXAMPLES], default=str
    )


def test_a_type_that_only_type_checkers_import_costs_no_other_one() -> None:
    class Partly(AbstractProvider):
        def create_completion(
            self, model: str, messages: Messages, top_p: Decimal | None = None, safe: bool | None = None, **kw: Any
        ) -> CreateResult:
            yield ""

    found = Partly.get_parameters()
    assert found["top_p"].annotation == "Decimal | None"
    assert found["safe"].annotation == bool | None
    assert Partly.get_parameters(as_json=True)["safe"] is False


@pytest.mark.skipif(sys.version_info < (3, 14), reason="until then such a module postpones its annotations")
def test_python_3_14_s_deferred_annotations_may_name_what_only_type_checkers_import() -> None:
    code = """
class Deferred(AbstractProvider):
    def create_completion(self, model: str, messages: Messages, top_p: Decimal | None = None,
                          stop: list[Decimal] | None = None, safe: bool | None = None, **kw: Unpack[More]):
        yield "a"

class More(TypedDict, total=False):
    seed: int
    tools: list[Decimal]
"""
    user = {name: globals()[name] for name in ("AbstractProvider", "Messages", "TypedDict", "Unpack")}
    exec(compile(code, "user.py", "exec", dont_inherit=True), user)
    cls: Any = user["Deferred"]
    found = cls.get_parameters()
    assert (found["top_p"].annotation, found["stop"].annotation) == ("Decimal | None", "list[Decimal] | None")
    assert (found["safe"].annotation, found["seed"].annotation) == (bool | None, int)
    assert "    top_p: Decimal | None = None,\n" in cls.params
    assert cls.get_parameters(as_json=True)["safe"] is False
    assert cls.complete_sync("Why?").text == "a"


def test_the_basic_parameters_are_never_sent_unasked() -> None:
    class Told(AbstractProvider):
        def create_completion(self, model: str, messages: Messages, stream: bool = False, **kw: Any) -> CreateResult:
            yield f"{kw}"

    assert Told.complete_sync("Why?").text == "{}"


# As text.


def test_params_is_a_parameter_a_line_with_name_type_and_default() -> None:
    assert Known.params == (
        "Known supports: (\n"
        "    model: str = 'its-default',\n"
        "    messages: Sequence[Mapping[str, Any]],\n"
        "    stream: bool = True,\n"
        "    proxy: str | None = None,\n"
        "    top_k: int = 5,\n"
        ")"
    )


def test_params_keeps_what_stands_in_quotes_and_takes_modules_off() -> None:
    class Worded(AbstractProvider):
        def create_completion(  # type: ignore[no-untyped-def]  # users leave types out
            self,
            model: str,
            media: Media | None = None,
            reasoning_effort: Literal["gpt-4.Turbo", "typing.Any"] = "typing.Any",
            seed=None,
            **kw: Any,
        ) -> CreateResult:
            yield ""

    *_, media, effort, seed, _ = Worded.params.split("\n")
    source = "str | PathLike[str] | bytes"
    assert media == f"    media: Sequence[{source} | tuple[{source}, str | None]] | None = None,"
    assert effort == "    reasoning_effort: Literal['gpt-4.Turbo', 'typing.Any'] = 'typing.Any',"
    assert seed == "    seed = None,"


def test_params_is_a_property_of_the_class_and_of_an_instance_that_names_its_own_model() -> None:
    assert Known().params == Known.params
    assert "model: str = 'bound'," in Known(model="bound").params
    assert isinstance(vars(AbstractProvider)["params"].__doc__, str)


@pytest.mark.parametrize("cls", [Silent, KnownCoroutine])
def test_params_leaves_stream_out_where_streaming_is_not_supported(cls: type[AbstractProvider]) -> None:
    assert "stream" not in cls.params
