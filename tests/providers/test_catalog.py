"""Every declaration of the catalogue, held against the same conformance check."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from g4ftrio import APIConnectionError, MissingKeyError, SetupError, SpecError, UnknownProviderError, providers
from g4ftrio.providers import Groq, HttpProvider, Ollama, OpenAI, OpenAICompatible, find, known, resolve
from g4ftrio.testing import check_provider, forbid_network

ALL = known()
ADDRESSED = [cls for cls in ALL.values() if issubclass(cls, HttpProvider) and cls.api_base]


@pytest.mark.anyio
@pytest.mark.parametrize("label", ALL)
async def test_a_declared_provider_does_what_every_provider_must(label: str) -> None:
    with forbid_network():
        await check_provider(ALL[label])


def test_labels_are_used_once_and_addresses_once_for_each_wire() -> None:
    bases = [(cls.api_base, type(cls.dialect)) for cls in ADDRESSED]
    assert len(set(bases)) == len(bases)
    assert list(ALL) == sorted(ALL)
    assert len(ALL) == len((*providers._catalog.__all__, *providers._community.__all__))


@pytest.mark.parametrize(
    ("spec", "cls", "model", "address"),
    [
        ("openai", OpenAI, "", "https://api.openai.com/v1"),
        ("openai/gpt-5-mini", OpenAI, "gpt-5-mini", "https://api.openai.com/v1"),
        ("openai:gpt-5-mini", OpenAI, "gpt-5-mini", "https://api.openai.com/v1"),
        ("GROQ/openai/gpt-oss-20b", Groq, "openai/gpt-oss-20b", "https://api.groq.com/openai/v1"),
        ("OpenAICompatible/llama3.2:1b", OpenAICompatible, "llama3.2:1b", ""),
        ("openai-compatible/@cf/meta/llama", OpenAICompatible, "@cf/meta/llama", ""),
        ("openai-compatible/m@2@http://127.0.0.1:9/v1/", OpenAICompatible, "m@2", "http://127.0.0.1:9/v1"),
        ("openai-compatible@http://[::1]:9/v1", OpenAICompatible, "", "http://[::1]:9/v1"),
    ],
)
def test_a_spec_names_provider_model_and_address(spec: str, cls: type, model: str, address: str) -> None:
    provider = resolve(spec)
    assert isinstance(provider, HttpProvider)
    assert (type(provider), provider.model, provider._address()) == (cls, model, address)


@pytest.mark.parametrize("spec", ["", "/model", "@http://127.0.0.1", "a b/c"])
def test_what_is_no_spec_is_refused_in_words(spec: str) -> None:
    with pytest.raises(SpecError, match=r"write provider\[/model\]\[@base_url\]"):
        resolve(spec)


def test_an_unknown_provider_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownProviderError, match="there is no provider named 'grok': did you mean groq"):
        find("grok")
    with pytest.raises(SetupError, match="an instance, a class or a spec, not int"):
        resolve(3)  # type: ignore[arg-type]  # what a program may pass all the same


def test_a_missing_key_names_the_variable() -> None:
    with pytest.raises(MissingKeyError) as caught:
        Groq(model="m").check_ready()
    assert str(caught.value) == (
        "groq/m: there is no API key. Set the GROQ_API_KEY environment variable or pass api_key=."
    )


def test_a_key_from_the_environment_goes_only_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "sk-environment")
    assert Groq()._key_for(Groq()._address()) == "sk-environment"
    assert Groq(api_base="http://127.0.0.1:1")._key_for("http://127.0.0.1:1") is None
    elsewhere = Groq(model="m", api_base="https://example.com/v1")
    assert elsewhere._key_for(elsewhere._address()) is None
    with pytest.raises(MissingKeyError) as caught:
        elsewhere.check_ready()
    assert str(caught.value) == (
        "groq/m: there is no API key: the key in GROQ_API_KEY goes only to https://api.groq.com:443, "
        "not to https://example.com:443. Pass api_key=."
    )
    assert "sk-environment" not in repr(elsewhere)


def test_a_base_url_from_the_environment_is_a_home_for_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://proxy.example/v1/")
    assert OpenAI()._address() == "https://proxy.example/v1"
    assert OpenAI()._key_for(OpenAI()._address()) == "sk-environment"
    assert OpenAI(base_url="https://api.openai.com/v1")._key_for("https://api.openai.com/v1") is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0:8", "http://127.0.0.1:8"),
        ("::", "http://127.0.0.1:11434"),
        ("[::1]:9", "http://[::1]:9"),
        ("https://box.lan:99", "https://box.lan:99"),
        ("https://box.lan/gate/", "https://box.lan:443/gate"),
        ("http://box.lan", "http://box.lan:80"),
        ("ollama.com", "https://ollama.com:443"),
        (":77", "http://127.0.0.1:77"),
    ],
)
def test_the_host_variable_of_a_local_server_may_be_short(
    monkeypatch: pytest.MonkeyPatch, host: str, address: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    own, openai = resolve("ollama/m"), resolve("ollama-chat/m")
    assert isinstance(own, HttpProvider)
    assert isinstance(openai, HttpProvider)
    assert (own._address(), openai._address()) == (address, f"{address}/v1")


def test_the_key_of_a_service_that_also_runs_here_does_not_go_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "secret-key")
    assert Ollama()._key_for(Ollama()._address()) is None
    monkeypatch.setenv("OLLAMA_HOST", "https://ollama.com")
    assert Ollama()._key_for(Ollama()._address()) == "secret-key"


def test_a_host_variable_that_holds_no_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "foo:bar")
    with pytest.raises(SetupError, match="ollama-chat: OLLAMA_HOST holds no address: 'foo:bar'"):
        resolve("ollama-chat/m").check_ready()


class Homemade(HttpProvider):
    """A provider of another package."""

    label = "homemade"
    api_base = "https://example.com/v1"


def test_other_packages_bring_providers_by_entry_points(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entries = EntryPoints(
        [
            EntryPoint("Homemade", f"{__name__}:Homemade", providers.GROUP),
            EntryPoint("broken", f"{__name__}:NoSuchThing", providers.GROUP),
            EntryPoint("groq", f"{__name__}:Homemade", providers.GROUP),
        ]
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries.select(group=group))
    assert isinstance(resolve("homemade/m"), Homemade)
    assert known()["homemade"] is Homemade
    assert known()["groq"] is Groq  # a name of the catalogue stays what it is
    assert "broken" not in known()
    assert "the provider broken of another package cannot be loaded" in caplog.text


@pytest.mark.anyio
async def test_a_list_of_models_that_does_not_come_names_the_provider() -> None:
    with pytest.raises(APIConnectionError, match=r"^openai-compatible/m: the connection failed"):
        await OpenAICompatible(model="m", api_base="http://127.0.0.1:1/v1").list_models()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SetupError, match="openai-compatible: api_base must be an http:// or https:// address, not ''"):
        OpenAICompatible(model="m").check_ready()
    with pytest.raises(SetupError, match="not 'localhost:8000'"):
        OpenAICompatible(model="m", api_base="localhost:8000").check_ready()


def test_a_setting_that_nobody_knows_is_answered_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="unknown parameter 'temprature': did you mean 'temperature'"):
        OpenAI(temprature=1)
    assert OpenAI(temperature=0.5, url="https://example.com").url == "https://example.com"
    with pytest.raises(SetupError, match="not both"):
        OpenAI(proxy="http://127.0.0.1:1", http_client=object())


@pytest.mark.anyio
@pytest.mark.parametrize(
    "label", ["anthropic", "gemini", "gemini-live", "ollama", "openai-compatible", "openai-realtime"]
)
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"extra_body": {"x": object()}}, "m: Encoding objects of type object is unsupported"),
        ({"extra_body": [1]}, "extra_body must be a mapping, extra_body={...}, not list"),
        ({"tools": [3]}, "m: a tool is a mapping or a function, not int"),
    ],
)
async def test_what_cannot_be_written_is_told_before_anything_is_sent(
    label: str, params: dict[str, Any], said: str
) -> None:
    provider = find(label)(model="m", name="m", api_base="http://127.0.0.1:9")
    with forbid_network(), pytest.raises(TypeError, match=re.escape(said)):
        await provider.complete("Why?", **params)


@pytest.mark.anyio
@pytest.mark.parametrize("label", ["anthropic", "gemini", "ollama"])
async def test_a_stop_that_is_no_text_is_told_before_anything_is_sent(label: str) -> None:
    provider = find(label)(model="m", api_base="http://127.0.0.1:9")
    with forbid_network(), pytest.raises(SetupError, match="stop must be a text or a list of texts, not 5"):
        await provider.complete("Why?", stop=5)  # type: ignore[arg-type]  # what a program may pass all the same
