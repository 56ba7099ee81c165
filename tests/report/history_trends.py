"""Trends and nominations by hand, for the reports of a history."""

from __future__ import annotations

from dataclasses import replace

from bench.core.cell import Cell
from bench.core.history import AcceptedMark, HistoryNomination, HistoryPoint, NominationKind, Trend

HOSTILE = '<script>alert(1)</script>\x1b[31m"&\n'


def make_point(day: int, value: float | None, **changes: object) -> HistoryPoint:
    point = HistoryPoint(
        started_at=f"2026-01-{day + 1:02}T03:00:00+00:00",
        value=value,
        low=None if value is None else value * 0.99,
        high=None if value is None else value * 1.01,
        n_effective=12.3,
        commit=f"{day:08x}" * 5,
        is_dirty=day == 3,
        run=f"run-{day}",
    )
    return replace(point, **changes)  # type: ignore[arg-type]


def make_trend(model: str = "my_net", scale: float = 0.0123, **changes: object) -> Trend:
    values = [scale * (1 + 0.01 * (day * 7 % 5)) * (1.2 if day >= 16 else 1) for day in range(24)]
    trend = Trend(
        cell_id=f"{model}/train/b8/cpu/fp32",
        cell_key=model,
        cell=Cell(model=model, batch_size=8),
        fingerprint="4f3d697b0ab894a2",
        machine="Test CPU, 2 threads, torch 2.15.0",
        metric="step_median_seconds",
        count=1024,
        points=tuple(make_point(day, value) for day, value in enumerate(values)),
    )
    return replace(trend, **changes)  # type: ignore[arg-type]


ACCEPTED = AcceptedMark(index=16, commit="00000010", reason="bigger hidden layer, PR 12")
FAILED = make_point(25, None, outcome="out_of_memory", reason="no memory left")
TRENDS = (
    make_trend(),
    make_trend("mlp", 0.0004, fingerprint="0123456789abcdef", machine="Other CPU, 8 threads, torch 2.15.0"),
    make_trend("lstm", accepted=(ACCEPTED,)),
    make_trend("diffusion", points=(*make_trend().points[:3], FAILED)),
)
NOMINATIONS = (
    HistoryNomination(
        kind=NominationKind.CHANGE,
        cell_id="my_net/train/b8/cpu/fp32",
        cell_key="my_net",
        fingerprint="4f3d697b0ab894a2",
        metric="step_median_seconds",
        before=0.0123,
        after=0.0148,
        shift=0.185,
        good_commit="a" * 40,
        bad_commit="b" * 40,
        started_at="2026-01-17T03:00:00+00:00",
        past=16,
        command="bench ab aaaaaaaaaaaa bbbbbbbbbbbb my_net -b 8",
        accept="my_net/train/b8/cpu/fp32,bbbbbbbbbbbb,step_median_seconds,why",
    ),
    HistoryNomination(
        kind=NominationKind.NEWEST,
        cell_id="test_sort.py::test_sort",
        cell_key="k",
        fingerprint="f",
        metric="step_median_seconds",
        before=0.002,
        after=0.0031,
        shift=0.438,
        low=0.0018,
        high=0.0022,
        started_at="2026-01-17T03:00:00+00:00",
        past=40,
        is_dirty=True,
        why_none="it is no cell of stepbench",
    ),
    HistoryNomination(
        kind=NominationKind.EXACT,
        cell_id="mlp/train/b8/cpu/fp32",
        cell_key="mlp",
        fingerprint="f",
        metric="parameters",
        before=9_547_360,
        after=9_553_003,
        shift=0.00059,
        good_commit="a" * 40,
        bad_commit="b" * 40,
        started_at="2026-01-17T03:00:00+00:00",
        past=3,
        command="bench ab aaaaaaaaaaaa bbbbbbbbbbbb mlp -b 8",
    ),
)
