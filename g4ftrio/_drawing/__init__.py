"""Drawing: numbers as lines of text and as SVG; no I/O.

``units`` writes numbers, ``scale`` places them. ``markup`` escapes, ``shapes`` and ``canvas`` draw, ``style`` colours
it all for light and for dark. ``chart`` lays a race out, ``waterfall`` and ``svg`` draw it.
"""

from __future__ import annotations

__all__: tuple[str, ...] = ()
