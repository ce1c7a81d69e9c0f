"""Numbers of tokens, found where services put them."""

from __future__ import annotations

from typing import Any

import pytest

from g4ftrio.dialects._counts import count


@pytest.mark.parametrize(("found", "number"), [(3, 3), (0, 0), (2.0, 2), (-1, None), (True, None), ("3", None)])
def test_a_count_is_a_number_from_0_up(found: Any, number: int | None) -> None:
    assert count({"a": {"b": found}}, "a", "b") == number


@pytest.mark.parametrize("usage", [None, 5, "many", [], {}, {"a": None}, {"a": 3}])
def test_where_nothing_is_there_is_no_count(usage: Any) -> None:
    assert count(usage, "a", "b") is None
