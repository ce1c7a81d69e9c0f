"""Measure providers side by side, and races of them."""

from __future__ import annotations

from g4ftrio.bench._records import EntrantRecord, RequestRecord, Run, Setup

__all__ = ("EntrantRecord", "RequestRecord", "Run", "Setup")
