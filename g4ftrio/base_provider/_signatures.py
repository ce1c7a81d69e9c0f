"""What a function takes, also where its annotations name what only type checkers import.

Up to Python 3.13 a module with such names postpones its annotations, which are strings then. From 3.14 on any module
may have them: an annotation is evaluated when somebody asks for it, and raises a NameError there (PEP 649).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect import Signature

__all__ = ("annotations_of", "signature_of")


def signature_of(function: Callable[..., Any]) -> Signature:
    """Give a function's signature; annotations may be their text."""
    from inspect import signature

    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return signature(function, annotation_format=Format.STRING)
    return signature(function)


def annotations_of(annotated: Any) -> Mapping[str, Any]:
    """Give the annotations of a function or a class, evaluated where that is possible."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations

        return get_annotations(annotated, format=Format.FORWARDREF)
    found: Mapping[str, Any] = getattr(annotated, "__annotations__", {})
    return found
