"""Runs to export: an ordinary one, and one in which everybody outside was hostile."""

from __future__ import annotations

from dataclasses import replace

from bench.core.gate import CounterChange, CounterRow, GateRow, GateVerdict
from bench.core.record import Outcome
from bench.store.stored import StoredRun
from tests.records import ENVIRONMENT, STARTED_AT, make_claims, make_record, make_sweep
from tests.stored_runs import make_run

HOSTILE = "=cmd|' /C calc'!A0<script>alert(1)</script>\"\x1b[31m\x00\ufffe\u202e]]>&{}\\%$#_~^@\n# EOF\n::error::x"
HOSTILE += "\u2028\ud800\x1b]0;"
RUN = make_run(id="20261123-175309-ab12cd", started_at=STARTED_AT, environment=ENVIRONMENT, records=make_sweep())
UNMEASURED = {"mlp/train/b32/cpu/bf16-amp", "walkthrough_cnn/train/b32/cpu/bf16-amp"}


def hostile_run() -> StoredRun:
    """Every text that can come from outside is hostile, one of them five megabytes long."""
    records = (
        make_record(HOSTILE),
        make_record(HOSTILE, 16, step=None, outcome=Outcome.FAILED, reason=HOSTILE * 50_000),
        replace(
            make_record(HOSTILE, 32, step=None, outcome=Outcome.KILLED, reason="x"), output_tail=f"{HOSTILE}\n" * 20
        ),
    )
    environment = replace(ENVIRONMENT, host=HOSTILE, cpu=HOSTILE, torch=HOSTILE, git_commit=HOSTILE)
    claims = tuple(
        replace(c, reason=HOSTILE, claim=replace(c.claim, id=HOSTILE, source=HOSTILE)) for c in make_claims()
    )
    return make_run(
        id="20261123-175309-ab12cd",
        started_at=STARTED_AT,
        environment=environment,
        records=tuple(replace(record, environment=environment) for record in records),
        claims=claims,
        gate=(gate_row(GateVerdict.MORE, HOSTILE), gate_row(GateVerdict.UNCOUNTED, HOSTILE, reason=HOSTILE)),
    )


def gate_row(verdict: GateVerdict, model: str = "net.py:net", reason: str | None = None) -> GateRow:
    row = CounterRow(suite="gate", torch="2.15", cell=make_record(model).cell, counters=())
    changes = (CounterChange(name="dispatch_count", expected=141, found=145),) if verdict is GateVerdict.MORE else ()
    return GateRow(verdict=verdict, found=row, counters=changes, reason=reason)
