"""Records made by hand."""

from __future__ import annotations

from typing import Any

from g4ftrio.bench import RequestRecord, Run, Setup

__all__ = ("record", "run_of", "setup")


def record(target: str = "a", **fields: Any) -> RequestRecord:
    """A request that was due at 10, sent at 11, and gave five tokens in two seconds from 12 on."""
    usual = {
        "number": 0,
        "scheduled_at": 10.0,
        "sent_at": 11.0,
        "connected_at": 11.25,
        "first_byte_at": 11.5,
        "first_token_at": 12.0,
        "first_content_at": 12.5,
        "ended_at": 14.0,
        "gaps": (0.5, 0.5, 0.75, 0.0),
        "pieces": 5,
        "output_tokens": 5,
    }
    return RequestRecord(target=target, **{**usual, **fields})


def setup(*targets: str, **fields: Any) -> Setup:
    """The setup of a run against these targets."""
    usual = {"version": "0", "load": "1 user", "seed": 0, "started": "2026-01-01T00:00:00+00:00"}
    return Setup(targets=targets or ("a",), machine="a machine", backend="trio", **{**usual, **fields})


def run_of(*records: RequestRecord, **fields: Any) -> Run:
    """A run in which these were the requests."""
    targets = dict.fromkeys(each.target for each in records)
    return Run(setup=setup(*targets, **fields), records=records)
