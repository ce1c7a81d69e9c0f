"""Numbers as people read them."""

from __future__ import annotations

import pytest

from g4ftrio._drawing.units import counted, duration, figures, milliseconds, percent


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (0, "0"),
        (1234.5, "1,234"),
        (12.345, "12.3"),
        (0.12345, "0.123"),
        (3e-6, "0.000"),
    ],
)
def test_numbers_have_three_figures_that_count(value: float | None, said: str) -> None:
    assert figures(value) == said


def test_times_shares_and_counts_have_their_units() -> None:
    said = {0: "0", 2.5: "2.5 s", 0.9996: "1 s", 0.99949: "999 ms", 0.45: "450 ms", 0.000012: "12 µs", None: "-"}
    assert {each: duration(each) for each in said} == said
    assert [milliseconds(0.0123), percent(0.125), percent(None)] == ["12.3", "12.5 %", "-"]
    assert [counted(1, "request"), counted(1200, "request")] == ["1 request", "1,200 requests"]
