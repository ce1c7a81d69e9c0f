"""What a service says went wrong, as a typed error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from g4ftrio._errors import APIResponseValidationError, APIStatusError, excerpt, status_error
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
        :param status: the HTTP status, where it is known; else a status that the payload names counts
        :raises APIStatusError: the error, by its status
        :raises APIResponseValidationError: it has neither an error nor ``choices`` nor ``data``
        """
        found = error_in(data)
        error: Exception | None = found
        if found is not None:
            said = found.message + _generated(data)
            error = status_error(status or found.status, said)
        elif status is not None and status >= 400:
            error = status_error(status, "")
        elif not (isinstance(data, Mapping) and any(data.get(name) for name in _ANSWERS)):
            error = APIResponseValidationError(excerpt(f"neither an answer nor an error: {data}"))
        if isinstance(error, APIStatusError | APIResponseValidationError):
            error.provider = getattr(self, "name", None)
            raise error


def _generated(data: Any) -> str:
    """What the model wrote that the service could not use; some say so."""
    error = data.get("error") if isinstance(data, Mapping) else None
    generated = error.get("failed_generation") if isinstance(error, Mapping) else None
    return f" (it wrote: {generated})" if isinstance(generated, str) and generated else ""
