"""The base of providers that are declared in a few lines: OpenAI's chat wire, models asked of the service."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, Self

from g4ftrio._streams.sync import Backend, run_sync
from g4ftrio._words.errors import AuthenticationError, ProviderError
from g4ftrio._words.messages import Messages, attach, normalize
from g4ftrio._words.request import KNOWN, ChatRequest
from g4ftrio._words.timeouts import TimeoutTypes
from g4ftrio.base_provider import SAFE_PARAMETERS, ProviderModelMixin, RaiseErrorMixin, StreamContext
from g4ftrio.base_provider._binding import creating, on_class_too
from g4ftrio.dialects._base import Dialect
from g4ftrio.dialects.openai_images import OpenAIImages
from g4ftrio.providers._declared import PER_CALL, ApiKey, HttpProvider
from g4ftrio.typing import AsyncResult, Media

__all__ = ("OpenaiTemplate",)

_log = logging.getLogger("g4ftrio")

_TIMEOUT = 120  # seconds without progress
_OF_IMAGES = frozenset(
    {"aspect_ratio", "guidance_scale", "height", "n", "negative_prompt", "num_inference_steps", "size", "width"}
)
_OF_CHATS = KNOWN.intersection(SAFE_PARAMETERS) - {"response_format", "seed"}  # these two are on both wires
_OWN = frozenset({"extra_parameters", "media", "prompt"})
_NOT_ON_THE_WIRE = frozenset(SAFE_PARAMETERS) - KNOWN - _OF_IMAGES - PER_CALL - {"timeout"}
_EXTRA = (
    *("include_reasoning", "logit_bias", "max_completion_tokens", "prompt_cache_key", "search_settings"),
    "stream_options",
)


class OpenaiTemplate(HttpProvider, ProviderModelMixin, RaiseErrorMixin):
    """The base of every OpenAI-compatible provider: a subclass says where, and what its models are called.

    :ivar fallback_models: the models where the service does not tell them
    :ivar sort_models: whether the service's models are sorted by name
    """

    needs_auth = False
    fallback_models: Sequence[str] = ()
    sort_models: bool = True

    _extra_params: ClassVar[frozenset[str]] = _OF_IMAGES

    @creating
    def create_async_generator(
        self,
        /,
        model: str,
        messages: str | Messages,
        proxy: str | None = None,
        timeout: TimeoutTypes = _TIMEOUT,
        media: Media | None = None,
        api_key: ApiKey = None,
        api_endpoint: str | None = None,
        api_base: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        top_p: float | None = None,
        stop: str | list[str] | None = None,
        stream: bool | None = None,
        prompt: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra_parameters: Sequence[str] = _EXTRA,
        extra_body: Mapping[str, Any] | None = None,
        **params: Any,
    ) -> AsyncResult:
        """Give the answer's chunks; nothing is sent before the first read. Close it with ``aclose()``.

        A model of ``image_models`` is asked for an image. What is None is not sent.

        :param timeout: seconds without progress, or a ``Timeout``
        :param media: images, sounds and files for the last user message, each a URL, a path or bytes, or with a name
        :param api_endpoint: the whole address to post to, instead of ``{api_base}/chat/completions``
        :param prompt: what an image shall show, instead of the last message; the message where there is none
        :param extra_parameters: the names of further keyword arguments that go into the body as they are
        :param extra_body: laid over the body
        :param params: see ``ChatParams``; safe parameters that the wire does not have are left out
        :raises TypeError: a parameter that nobody knows, before anything is sent
        """
        given: dict[str, Any] = {"proxy": proxy, "timeout": timeout, "media": media, "api_key": api_key}
        given |= {
            "api_endpoint": api_endpoint,
            "api_base": api_base,
            "temperature": temperature,
            "max_tokens": max_tokens,
            "top_p": top_p,
        }
        given |= {"stop": stop, "stream": stream, "prompt": prompt, "headers": headers, "extra_body": extra_body}
        return self._request(model, messages, {**params, **given, "extra_parameters": extra_parameters}).unread()

    @creating
    def get_models(
        self,
        /,
        *,
        api_key: ApiKey = None,
        api_base: str | None = None,
        timeout: TimeoutTypes = None,  # noqa: ARG002  # the documents name it; a list has a limit of its own
        backend: Backend = "trio",
        **params: Any,  # noqa: ARG002  # what was written for others may pass more
    ) -> list[str]:
        """The service's models, asked for once and kept; ``fallback_models`` where it does not answer.

        :raises EventLoopRunningError: they are not known yet, and an event loop runs here
        :raises AuthenticationError: the service wants a key, or refused it
        """
        asked = self._rebound(api_key=api_key, api_base=api_base) if api_key or api_base else self
        if not asked.models:
            asked._ask_for_models(backend)
        return list(asked.models or asked.fallback_models) or super().get_models()

    @on_class_too
    async def list_models(self, /) -> list[str]:
        """Ask the service for the names of its models, and keep them.

        :raises ProviderError: it did not answer, or not with a list
        """
        found = await super().list_models()
        self.models = sorted(found) if self.sort_models else found
        return list(self.models)

    def dialect_for(self, model: str) -> Dialect:
        """The wire of images for a model that makes them, else that of chats."""
        names = {model, self.model_aliases.get(model) if model else self.default_model}
        return OpenAIImages() if names.intersection(self.image_models) else super().dialect_for(model)

    def _rebound(self, **settings: Any) -> Self:
        """What is known of the models holds for their address and their key."""
        other = super()._rebound(**settings)
        if (other._address(), other.api_key) != (self._address(), self.api_key):
            vars(other).pop("models", None)
        return other

    def _body(self, dialect: Dialect, request: ChatRequest) -> dict[str, Any]:
        """Leave out what only the other wire has: who fills in a form does not know which wire a model is asked on."""
        others = _OF_CHATS if isinstance(dialect, OpenAIImages) else _OF_IMAGES - {"n"}
        request.params = {name: value for name, value in request.params.items() if name not in others}
        return super()._body(dialect, request)

    def _ask_for_models(self, backend: Backend) -> None:
        instead = f"await {type(self).__name__}.list_models()"
        try:
            run_sync(self.list_models, backend=backend, instead=instead)
        except AuthenticationError:
            raise
        except ProviderError as error:
            if not (self.fallback_models or self.default_model):
                raise
            _log.warning("%s does not tell its models: %s", self.label, error)

    def _request(self, model: str, messages: str | Messages, params: dict[str, Any]) -> StreamContext:
        given = {name: value for name, value in params.items() if name not in _OWN}
        extra = {name: given.pop(name) for name in params.get("extra_parameters", _EXTRA) or () if name in given}
        if extra:
            given["extra_body"] = {**extra, **(given.get("extra_body") or {})}
        known = {name: value for name, value in given.items() if name not in _NOT_ON_THE_WIRE}
        asked = self._said(messages, model, params)
        return super()._request(model, asked, known)

    def _said(self, messages: str | Messages, model: str, params: Mapping[str, Any]) -> str | Messages:
        """The messages, with media in them; a prompt stands for them where there are none, and for an image always."""
        prompt = params.get("prompt")
        if prompt and (not messages or isinstance(self.dialect_for(model or self.model), OpenAIImages)):
            messages = prompt
        media = params.get("media")
        if isinstance(media, str | bytes | PathLike):
            media = [media]
        return attach(normalize(messages), media) if media else messages
