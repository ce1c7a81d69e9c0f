"""The providers' base classes.

A class is a declaration, an instance is the same with settings bound. Whoever writes one door of a provider gets the
others: a subclass that has only ``create_async_generator`` can be streamed, completed and raced.
"""

from g4ftrio.base_provider._abstract import AbstractProvider
from g4ftrio.base_provider._ask import Ask, StreamContext
from g4ftrio.base_provider._asynchronous import AnsweringProvider, AsyncGeneratorProvider, AsyncProvider
from g4ftrio.base_provider._authed import AsyncAuthedProvider, AuthFileMixin
from g4ftrio.base_provider._models import ProviderModelMixin
from g4ftrio.base_provider._parameters import BASIC_PARAMETERS, PARAMETER_EXAMPLES, SAFE_PARAMETERS, safe_parameters
from g4ftrio.base_provider._raise_error import RaiseErrorMixin

__all__ = (
    "BASIC_PARAMETERS",
    "PARAMETER_EXAMPLES",
    "SAFE_PARAMETERS",
    "AbstractProvider",
    "AnsweringProvider",
    "Ask",
    "AsyncAuthedProvider",
    "AsyncGeneratorProvider",
    "AsyncProvider",
    "AuthFileMixin",
    "ProviderModelMixin",
    "RaiseErrorMixin",
    "StreamContext",
    "safe_parameters",
)
