"""What a provider is before it is asked: a class of declared attributes, and instances with settings bound."""

from __future__ import annotations

from collections.abc import Mapping
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, ClassVar

from g4ftrio._resilience.limits import Rate, make_limiter
from g4ftrio._streams.generated import Generated
from g4ftrio._words.errors import SetupError
from g4ftrio._words.events import Hook
from g4ftrio._words.request import check_params
from g4ftrio._words.secrets import hidden
from g4ftrio._words.timeouts import Timeout, TimeoutTypes
from g4ftrio.base_provider._binding import Bound, as_written, on_class_too, room_for_default
from g4ftrio.base_provider._parameters import SAFE_PARAMETERS

if TYPE_CHECKING:
    import httpx

__all__ = ("Declaration",)

# Methods that ask a service: written by a subclass, they get the settings that their signatures name.
_ASKING = frozenset(
    {"create_async", "create_async_generator", "create_authed", "create_completion", "get_models", "on_auth_async"}
)


class Declaration:
    """What every provider declares and every instance can bind.

    :ivar label: its name in specs; by default the class's name in lower case
    :ivar url: where people find it
    :ivar working: whether the service is known to answer
    :ivar needs_auth: whether it wants a key
    :ivar supports_stream: whether it gives its answer piece by piece
    :ivar supports_system_message: whether it takes system messages; else they are folded into the first user message
    :ivar supports_message_history: whether it takes more than one message
    :ivar telemetry_name: what OpenTelemetry calls the service, where that is not its label
    :ivar default_model: the model to ask for where nobody names one
    """

    label: ClassVar[str] = ""
    url: str = ""
    working: bool = True
    needs_auth: bool = False
    supports_stream: bool = False
    supports_system_message: bool = True
    supports_message_history: bool = True
    default_model: str = ""
    telemetry_name: ClassVar[str] = ""

    _operation: ClassVar[str] = "chat"
    _handoff: ClassVar[bool] = False
    _detachable: ClassVar[bool] = False
    _by_generator: ClassVar[bool] = False  # a subclass wrote ``create_async_generator`` over what would answer else
    _free_params: ClassVar[bool] = True
    _extra_params: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "label" not in cls.__dict__:
            cls.label = cls.__name__.lower()
        room_for_default(cls)
        for name, value in _written(cls).items():
            if _is_template(cls, name) and not isinstance(value, on_class_too):
                setattr(cls, name, _as_written(name, value))
                cls._by_generator |= name == "create_async_generator"

    def __init__(
        self,
        *,
        model: str = "",
        name: str = "",
        timeout: TimeoutTypes = None,
        http_client: httpx.AsyncClient | None = None,
        proxy: str | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int | None = None,
        rate: Rate | None = None,
        wait: float | None = None,
        on_event: Hook | None = None,
        **settings: Any,
    ) -> None:
        if http_client is not None and proxy is not None:
            raise SetupError("pass http_client= or proxy=, not both: a client has its own proxy")
        settings, given = hidden(settings), hidden({"proxy": proxy, "headers": headers})
        proxy, headers = given["proxy"], given["headers"]  # what frames hold, tracebacks show
        self.model = model
        self._name = name
        self._timeout = Timeout.of(timeout)
        self._client = http_client
        self._proxy = proxy
        self._headers = dict(headers or {})
        self._limiter = make_limiter(limit, rate, wait)
        self._hooks = _hooks(on_event)
        self._settings: dict[str, Any] = {"model": model, "timeout": timeout, "http_client": http_client}
        self._settings |= given
        self._defaults = self._bind(settings)

    @property
    def detachable(self) -> bool:
        """Whether a stream of its may outlive the task that opened it."""
        return self._detachable and not self._by_generator

    @property
    def name(self) -> str:
        """What reports and errors call it."""
        return self._called(self.model or self.default_model)

    if not TYPE_CHECKING:

        @property
        def __name__(self) -> str:
            # A method written as a class method gets an instance as ``cls``, and may say ``cls.__name__``.
            return type(self).__name__

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def _called(self, model: str) -> str:
        return self._name or (f"{self.label}/{model}" if model else self.label)

    def _bound(self) -> Bound:
        given = {name: value for name, value in self._settings.items() if value not in (None, "")}
        return Bound(settings=given, defaults=self._defaults)

    def _before_defaults(self) -> Bound:
        timeout = {} if self._timeout == Timeout() else {"timeout": self._timeout}
        return Bound(settings=timeout, defaults=self._defaults)

    def _bind(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Set what the class declares as attributes; what is left are parameters for every request."""
        for name in [name for name in settings if _is_declared(type(self), name)]:
            self._settings[name] = settings.pop(name)
            setattr(self, name, self._settings[name])
        if settings:
            check_params(settings, self._known_names())
        return settings

    def _known_names(self) -> frozenset[str]:
        """The names of settings beside the chat parameters."""
        declared = frozenset(name for name in dir(type(self)) if _is_declared(type(self), name))
        return declared | self._extra_params | (frozenset(SAFE_PARAMETERS) if self._free_params else frozenset())


def _hooks(on_event: Hook | None) -> tuple[Hook, ...]:
    if on_event is None:
        return ()
    if not callable(on_event):
        raise TypeError(f"on_event= is a function that takes an Event, not {type(on_event).__name__}")
    return (on_event,)


def _as_written(name: str, method: Any) -> on_class_too[..., Any]:
    return as_written(method, Declaration._bound if name in _ASKING else None, _looked_after)


def _looked_after(result: Any) -> Any:
    """What a method gave; an async generator so that it closes what it opens."""
    return Generated(result) if isinstance(result, AsyncGeneratorType) else result


def _written(cls: type) -> dict[str, Any]:
    """What a class has of its own, and of plain mixins that come before the base which has it as well."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base is not cls and issubclass(base, Declaration):
            break
        found = {**vars(base), **found}
    return found


def _is_template(cls: type, name: str) -> bool:
    """Whether a base has the method as one that works on the class too."""
    return any(isinstance(vars(base).get(name), on_class_too) for base in cls.__mro__[1:])


def _is_declared(cls: type, name: str) -> bool:
    if name.startswith("_"):
        return False
    found = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
    return bool(found) and not callable(found[0]) and not hasattr(found[0], "__get__")
