"""A picture as PNG, drawn by a browser that is on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from g4ftrio._words.errors import SetupError

__all__ = ("browser", "write_png")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
_QUIETLY = ("--headless", "--disable-gpu", *(("--no-sandbox",) * _IS_ROOT))  # root's sandbox does not start at all
_WAIT = 60  # seconds


def browser() -> str:
    """Find a browser that can draw without a screen.

    :raises SetupError: there is none
    """
    for name in _BROWSERS:
        if found := shutil.which(name):
            return found
    raise SetupError("a .png needs Chromium or Chrome on this machine, and there is none: write a .svg")


def write_png(svg: str, path: Path) -> None:
    """Draw an SVG that begins at 0 0, with two pixels for each of its units.

    :raises SetupError: there is no browser, or it did not draw
    """
    found = browser()
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    width, height = size.groups() if size else ("760", "1000")
    with TemporaryDirectory(prefix="g4ftrio-", ignore_cleanup_errors=True) as folder:
        page, drawn = Path(folder, "picture.html"), Path(folder, "picture.png")
        page.write_text(f'<!doctype html><meta charset="utf-8"><body style="margin:0">{svg}', "utf-8")
        sizes = (f"--window-size={width},{height}", "--force-device-scale-factor=2", "--hide-scrollbars")
        command = [
            found,
            *_QUIETLY,
            *sizes,
            f"--user-data-dir={folder}/profile",
            f"--screenshot={drawn}",
            page.as_uri(),
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=_WAIT, check=True)  # noqa: S603  # our own words
            shutil.copyfile(drawn, path)
        except (OSError, subprocess.SubprocessError):
            raise SetupError(f"{found} did not draw {path}: write a .svg") from None
