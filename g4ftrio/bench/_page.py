"""A run as one HTML page that needs nothing else: no network, no script, no font.

What is read out of providers' answers may say anything, so the page forbids itself everything but its own styles, and
all text goes through ``tag``, which escapes it. Plots are there twice, drawn for a desk and for a phone; the sheet of
styles shows one of them. Ticking a target off hides it by ``:has()``, and where a browser does not know that, nothing
is hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from g4ftrio._drawing.markup import Markup, join, tag
from g4ftrio._drawing.style import CARD, FONT, GRID, INK, SOFT, Style, sheet
from g4ftrio._drawing.units import counted
from g4ftrio.bench._charts import style
from g4ftrio.bench._plots import Plot, looks, plots
from g4ftrio.bench._records import Run, Setup
from g4ftrio.bench._table import MEASURES, Grid, tables, verdicts, warnings

if TYPE_CHECKING:
    from g4ftrio.bench._summary import Summary

__all__ = ("page",)

_HALF, _WHOLE, _PHONE = 560.0, 1160.0, 330.0  # pixels that there are for a plot
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(run: Run, summary: Summary, more: Sequence[Grid] = ()) -> str:
    """Write the page.

    :param more: tables that are shown as well
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Benchmark of {', '.join(run.setup.targets)}"),
        tag("style", sheet(_ROOT), Markup(_SHEET), style(), _toggles(run)),
    )
    body = tag("body", _header(run, summary), _targets(run), tag("main", *_main(run, summary, more)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _header(run: Run, summary: Summary) -> Markup:
    setup = run.setup
    measured = sum(record.phase == "measured" for record in run.records)
    facts = (
        counted(measured, "request"),
        setup.load,
        f"{setup.backend}, g4ftrio {setup.version}",
        setup.machine,
        setup.started,
    )
    return tag(
        "header",
        tag("h1", "Benchmark"),
        tag("p", " · ".join(facts), class_="facts"),
        *(
            tag("p", warning[:1].upper() + warning[1:], class_="warning", role="note")
            for warning in warnings(run, summary)
        ),
        tag("ul", *(tag("li", verdict) for verdict in verdicts(summary)), class_="verdicts"),
    )


def _targets(run: Run) -> Markup:
    """Write a box to tick for each target, which is the key to the colours as well."""
    boxes = (
        tag(
            "label",
            tag("input", type="checkbox", checked="", id=f"show-{look.partition(' ')[2]}"),
            tag("span", class_=f"swatch {look.partition(' ')[0]}"),
            name,
        )
        for name, look in looks(run).items()
    )
    return tag("nav", *boxes, aria_label="Targets to show")


def _toggles(run: Run) -> Markup:
    targets = (look.partition(" ")[2] for look in looks(run).values())
    rules = (f"body:has(#show-{target}:not(:checked)) .{target}{{display:none}}" for target in targets)
    return Markup("".join(rules))


def _main(run: Run, summary: Summary, more: Sequence[Grid]) -> Iterator[Markup]:
    first, *others = tables(run, summary, measures=MEASURES)
    yield tag("section", _table(first), class_="card wide")
    drawn = plots(run, summary)
    halves = [plot for plot in drawn if not plot.is_wide]
    alone = halves[-1] if len(halves) % 2 else None
    for plot in drawn:
        yield _figure(plot, is_wide=plot.is_wide or plot is alone)
    for grid in (*more, *others):
        yield tag("section", _table(grid), class_="card wide")
    yield tag("section", _table(_setup(run.setup)), class_="card wide")


def _figure(plot: Plot, *, is_wide: bool) -> Markup:
    return tag(
        "figure",
        tag("figcaption", tag("h2", plot.title), tag("p", plot.note)),
        plot.draw(_WHOLE if is_wide else _HALF).markup(plot.title, class_="desk"),
        plot.draw(_PHONE).markup(plot.title, class_="phone"),
        class_="card wide" if is_wide else "card",
    )


def _table(grid: Grid) -> Markup:
    classes = ["words" if index in grid.words else "number" for index in range(len(grid.heads))]
    heads = (tag("th", head, scope="col", class_=class_) for head, class_ in zip(grid.heads, classes, strict=True))
    rows = (
        tag(
            "tr",
            tag("th", row[0], scope="row", class_="words"),
            *(tag("td", cell, class_=class_) for cell, class_ in zip(row[1:], classes[1:], strict=True)),
        )
        for row in grid.rows
    )
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), aria_label=grid.title)
    notes = (tag("p", note, class_="note") for note in grid.notes)
    scrolled = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=grid.title)
    return join([tag("h2", grid.title), scrolled, *notes])


def _setup(setup: Setup) -> Grid:
    told = {
        "targets": ", ".join(setup.targets),
        **{f"race {name}": ", ".join(entrants) for name, entrants in setup.races.items()},
        "load": setup.load,
        "seed": str(setup.seed),
        "started": setup.started,
        "machine": setup.machine,
        "event loop": setup.backend,
        "g4ftrio": setup.version,
        **{name: str(value) for name, value in setup.options.items()},
    }
    return Grid(title="Set-up", heads=("what", "value"), rows=tuple(told.items()), words=(0, 1))


_ROOT = Style(
    {":root": "color-scheme:light dark", "body": f"font:15px/1.5 {FONT}"},
    {
        "--ground": {":root": ("#f6f7f9", "#0e1116")},
        "--card": {":root": CARD},
        "--text": {":root": INK},
        "--soft": {":root": SOFT},
        "--line": {":root": GRID},
        "--warn": {":root": ("#fff4d6", "#3a2f10")},
    },
)
_SHEET = """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--text);overflow-wrap:anywhere}
header,main,nav{max-width:1240px;margin:auto;padding:0 20px}
header{padding-top:28px}
h1{margin:0;font-size:26px;line-height:1.2}h2{margin:0;font-size:16px}
.facts,figcaption p,.note{color:var(--soft);font-size:13px;margin:4px 0 0}
.warning{background:var(--warn);border-radius:8px;padding:8px 14px;margin:14px 0 0}
.verdicts{margin:14px 0 0;padding-left:20px}.verdicts:empty{display:none}
nav{position:sticky;top:0;z-index:1;display:flex;flex-wrap:wrap;gap:6px;padding-top:10px;padding-bottom:10px;
background:var(--ground)}
nav label{display:inline-flex;align-items:center;gap:7px;padding:4px 12px 4px 9px;border:1px solid var(--line);
border-radius:99px;background:var(--card);font-size:13px;cursor:pointer}
nav input{position:absolute;opacity:0}nav input:not(:checked)~*{opacity:.35}
nav label:has(input:not(:checked)){color:var(--soft);text-decoration:line-through}
nav label:has(:focus-visible){outline:2px solid}
.swatch{width:11px;height:11px;border-radius:3px;background:currentColor;flex:none}
main{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:16px;padding-bottom:40px}
.card{margin:0;min-width:0;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px}
.wide{grid-column:1/-1}
figure svg{display:block;width:100%;height:auto;margin-top:14px;overflow:visible}.phone{display:none!important}
.scroll{overflow-x:auto;margin-top:8px}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:5px 14px 5px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child>*{border-bottom:0}thead th{color:var(--soft);font-weight:500;white-space:nowrap}
tbody th{font-weight:600;min-width:10.5em}.number{text-align:right;white-space:nowrap}td.words{min-width:90px}
@media(max-width:820px){main{grid-template-columns:minmax(0,1fr)}}
@media(max-width:480px){header,main,nav{padding-left:10px;padding-right:10px}.card{padding:14px 12px}
.desk{display:none!important}figure .phone{display:block!important}nav{position:static}}
@media print{nav{display:none}.card{break-inside:avoid}}
"""
