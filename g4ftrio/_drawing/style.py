"""Colours, each for light and for dark surroundings, and sheets of styles made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from g4ftrio._drawing.markup import Markup

__all__ = ("CARD", "FONT", "GRID", "INK", "RED", "SERIES", "SHAPES", "SOFT", "TEXT", "Colour", "Style", "sheet")

Colour: TypeAlias = tuple[str, str]
"""In light and in dark surroundings."""

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"

CARD: Colour = ("#ffffff", "#14181e")
INK: Colour = ("#1f2328", "#e6edf3")
SOFT: Colour = ("#5b6570", "#9aa4af")
GRID: Colour = ("#e3e7ec", "#2b323c")
RED: Colour = ("#cf222e", "#ff7b72")

# The colours of Okabe and Ito (https://jfly.uni-koeln.de/color/), which colour-blind people can tell apart, without the
# yellow, which nobody sees on white; and as bright as a dark ground wants them.
SERIES: tuple[Colour, ...] = (
    ("#0072b2", "#56aee8"),
    ("#d55e00", "#ff8b4d"),
    ("#009e73", "#35cf9f"),
    ("#b0559a", "#e699cc"),
    ("#c98a00", "#f0b93a"),
    ("#3b9ad6", "#9bd3f7"),
    ("#6a4fb3", "#b39df0"),
    ("#6b7280", "#a3aab8"),
)


class Style(Struct, frozen=True):
    """What is declared of which selectors.

    :ivar rules: declarations by selector
    :ivar colours: of each property, the colours by selector
    """

    rules: Mapping[str, str]
    colours: Mapping[str, Mapping[str, Colour]]


TEXT = Style(
    {
        "text": f"font:12px {FONT}",
        ".heading": "font-size:18px;font-weight:600",
        ".label": "font-weight:600",
        ".tick,.title,.note": "font-variant-numeric:tabular-nums",
    },
    {
        "fill": {"text": INK, ".tick,.title,.note": SOFT, ".ground": CARD},
        "stroke": {".grid": GRID},
    },
)
"""What all drawings have: words, lines across, a ground."""

SHAPES = Style(
    {
        ".line,.mark": "fill:none",
        ".line": "stroke:currentColor;stroke-width:2;stroke-linejoin:round",
        ".mark": "stroke-width:1.5",
        ".bar,.dot,.area": "fill:currentColor",
        ".area": "fill-opacity:.3",
    },
    {
        "color": {f".s{slot}": colour for slot, colour in enumerate(SERIES)},
        "stroke": {".mark": INK},
    },
)
"""Shapes of series: those of ``s0`` to ``s7`` have a colour each."""


def sheet(*styles: Style, within: str = "") -> Markup:
    """Write a sheet of styles.

    :param within: the selector of what alone the rules are for
    """
    plain = "".join(_rules(style.rules, within) for style in styles)
    light, dark = ("".join(_coloured(style, scheme, within) for style in styles) for scheme in (0, 1))
    return Markup(f"{plain}{light}@media(prefers-color-scheme:dark){{{dark}}}")


def _coloured(style: Style, scheme: int, within: str) -> str:
    return "".join(
        _rules({selector: f"{what}:{colour[scheme]}" for selector, colour in colours.items()}, within)
        for what, colours in style.colours.items()
    )


def _rules(rules: Mapping[str, str], within: str) -> str:
    bound = {",".join(f"{within} {each}".lstrip() for each in names.split(",")): said for names, said in rules.items()}
    return "".join(f"{names}{{{said}}}" for names, said in bound.items())
