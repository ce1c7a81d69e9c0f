"""A canvas: shapes one over the other, with axes, as a part of a page or as a picture that stands alone."""

from __future__ import annotations

from collections.abc import Callable

from g4ftrio._drawing.markup import Markup, tag
from g4ftrio._drawing.scale import Scale
from g4ftrio._drawing.shapes import rule, text, wide

__all__ = ("Canvas",)


class Canvas:
    """A drawing.

    :ivar height: may grow while it is drawn
    :ivar left: where what is drawn begins, behind the labels of a vertical axis
    :ivar right: where it ends
    """

    def __init__(self, width: float, height: float = 0, *, left: float = 1, right: float = 14) -> None:
        self.width = width
        self.height = height
        self.left = left
        self.right = width - right
        self._shapes: list[Markup] = []

    def add(self, *shapes: Markup) -> None:
        """Draw on top."""
        self._shapes.extend(shapes)

    def horizontal_axis(self, scale: Scale, bottom: float, label: Callable[[float], str], title: str) -> None:
        """Draw a scale below, with lines up to the top."""
        for value in scale.ticks(max(2, int((self.right - self.left) / 72))):
            x = scale(value)
            self.add(rule(x, 0, x, bottom, class_="grid"), self._tick(x, bottom + 16, label(value)))
        self.add(text(self.right, bottom + 34, title, class_="title", anchor="end"))

    def vertical_axis(self, scale: Scale, label: Callable[[float], str]) -> None:
        """Draw a scale at the left, with lines across."""
        for value in scale.ticks(5):
            y = scale(value)
            self.add(rule(self.left, y, self.right, y, class_="grid"))
            self.add(text(self.left - 7, y + 4, label(value), class_="tick", anchor="end"))

    def part(self, x: float, y: float) -> Markup:
        """Give the drawing as a part of another one, at that place."""
        return tag("g", *self._shapes, transform=f"translate({x:g} {y:g})")

    def markup(self, label: str, **attributes: object) -> Markup:
        """Give the drawing as a part of a page.

        :param label: what a reader hears of it
        """
        box = f"0 0 {self.width:g} {self.height:g}"
        return tag("svg", *self._shapes, viewBox=box, role="img", aria_label=label, **attributes)

    def picture(self, label: str, sheet: Markup, *, told: str = "", class_: str) -> Markup:
        """Give the drawing as a picture of its own, which loads nothing and runs nothing.

        :param sheet: its style, of which every rule is for what is in that class: it may be put into a page as it is
        :param told: more than its label says, for those who cannot see it
        """
        whole = Canvas(self.width, self.height)
        whole.add(tag("title", label), *([tag("desc", told)] if told else []), tag("style", sheet), *self._shapes)
        size = {"width": f"{self.width:g}", "height": f"{self.height:g}"}
        return whole.markup(label, xmlns="http://www.w3.org/2000/svg", **size, class_=class_)

    def _tick(self, x: float, y: float, words: str) -> Markup:
        half = wide(words) / 2
        if x < half:
            return text(0, y, words, class_="tick")
        if x + half > self.width:
            return text(self.width, y, words, class_="tick", anchor="end")
        return text(x, y, words, class_="tick", anchor="middle")
