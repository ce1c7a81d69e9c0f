"""What a service says went wrong, as a typed error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from g4ftrio._words.errors import APIResponseValidationError, ProviderError, excerpt, status_error
from g4ftrio.base_provider._binding import on_class_too
from g4ftrio.dialects._error_body import error_in

__all__ = ("RaiseErrorMixin",)

_ANSWERS = ("choices", "data")


class RaiseErrorMixin:
    """For providers that read their service's JSON themselves."""

    @on_class_too
    def raise_error(self, /, data: Any, status: int | None = None) -> None:
        """Raise the error that an answer's JSON is; return where it is an answer.

        The forms: ``{"error_message": text}``, ``{"error": text}``, ``{"error": true}``, and ``{"error": {...}}`` with
        ``message``, ``code`` and ``failed_generation``, each of which may be missing.

        :param data: the decoded JSON
        :param status: the HTTP status, where it is known; where it is no error's, one that the payload names counts
        :raises APIStatusError: the error, by its status
        :raises APIResponseValidationError: it has neither an error nor ``choices`` nor ``data``
        """
        failed = status if status is not None and status >= 400 else None
        found = error_in(data)
        error: ProviderError
        if found is not None:
            said = found.message or f"{data}"
            error = status_error(failed or found.status, said + _generated(data))
        elif failed:
            error = status_error(failed, f"{data}")
        elif not (isinstance(data, Mapping) and any(data.get(name) for name in _ANSWERS)):
            error = APIResponseValidationError(excerpt(f"neither an answer nor an error: {data}"))
        else:
            return
        error.provider = getattr(self, "name", None)
        raise error


def _generated(data: Any) -> str:
    """What the model wrote that the service could not use; some say so."""
    error = data.get("error") if isinstance(data, Mapping) else None
    generated = error.get("failed_generation") if isinstance(error, Mapping) else None
    return f" (it wrote: {generated})" if isinstance(generated, str) and generated else ""
