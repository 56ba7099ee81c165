"""The format of github-action-benchmark for what should grow: throughput."""

from __future__ import annotations

from bench.report.formats import Format
from bench.report.formats.github_action_benchmark import to_bigger_is_better

FORMAT = Format(write=lambda run, _: to_bigger_is_better(run))
