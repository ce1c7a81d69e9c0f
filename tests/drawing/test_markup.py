"""Markup: what is none is escaped."""

from __future__ import annotations

from g4ftrio._drawing.markup import Markup, tag


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("b", "<&>", tag("i", "x"), title='"\x00') == '<b title="&quot;␀">&lt;&amp;&gt;<i>x</i></b>'
    assert tag("line", x1=1.50, x2=2.0, class_="a", id=None) == '<line x1="1.5" x2="2" class="a"/>'
    assert tag("td") == "<td></td>"
    assert isinstance(tag("p"), Markup)
