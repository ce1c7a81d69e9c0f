"""Measure providers side by side, and races of them: ``await run([...], Users(8), count=100)``, then ``summarize``.

Bottom to top: ``_records`` what is written down; ``_statistics``; ``_load``, ``_trace`` and ``_prompts`` what is asked
when, ``_options`` how; ``_measures`` every measure with its formula, ``_races`` and ``_summary`` what a run says,
``_knees`` and ``_policies`` what follows from it. So far nothing does I/O but to read files. ``_targets``, ``_reading``
and ``_run`` ask, ``_file`` keeps it.

What is seen of it: ``_table`` and ``_findings`` tables; ``_charts`` drawing, ``_plots`` what is drawn of a run,
``_page`` and ``_png`` where; ``_merged`` several runs as one.
"""

from __future__ import annotations

from g4ftrio.bench._file import Writer, read, stored
from g4ftrio.bench._knees import Knee, Step, knees
from g4ftrio.bench._load import Bursts, Constant, Load, Poisson, Ramp, Sweep, Trace, Users
from g4ftrio.bench._measures import MEASURES, Goals
from g4ftrio.bench._options import Options
from g4ftrio.bench._page import page
from g4ftrio.bench._plots import picture
from g4ftrio.bench._policies import PolicyEstimate, Verified, policies, verify_policies
from g4ftrio.bench._prompts import Prompt, Prompts, made_up, prompts
from g4ftrio.bench._races import RaceSummary
from g4ftrio.bench._records import Ending, EntrantRecord, RequestRecord, Run, Setup
from g4ftrio.bench._run import Stop, run
from g4ftrio.bench._statistics import Interval, Sample, Statistics
from g4ftrio.bench._summary import Comparison, Summary, Tally, TargetSummary, request_rows, summarize, summary_rows
from g4ftrio.bench._table import table
from g4ftrio.bench._trace import read_trace

__all__ = (
    "MEASURES",
    "Bursts",
    "Comparison",
    "Constant",
    "Ending",
    "EntrantRecord",
    "Goals",
    "Interval",
    "Knee",
    "Load",
    "Options",
    "Poisson",
    "PolicyEstimate",
    "Prompt",
    "Prompts",
    "RaceSummary",
    "Ramp",
    "RequestRecord",
    "Run",
    "Sample",
    "Setup",
    "Statistics",
    "Step",
    "Stop",
    "Summary",
    "Sweep",
    "Tally",
    "TargetSummary",
    "Trace",
    "Users",
    "Verified",
    "Writer",
    "knees",
    "made_up",
    "page",
    "picture",
    "policies",
    "prompts",
    "read",
    "read_trace",
    "request_rows",
    "run",
    "stored",
    "summarize",
    "summary_rows",
    "table",
    "verify_policies",
)
