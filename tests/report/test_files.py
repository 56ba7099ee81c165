from __future__ import annotations

import errno
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.core.cell import Cell, Mode
from bench.core.errors import StoreError
from bench.core.record import Counters, FlopCount, Outcome, Phase, Sample
from bench.core.text import plain
from bench.report.files import to_csv, to_frame, write_tables
from bench.store.runs import RunFolder, RunInfo
from bench.tables.catalog import COLUMNS
from tests.goldens import check_golden
from tests.records import (
    ENVIRONMENT,
    STARTED_AT,
    make_claims,
    make_counters,
    make_layers,
    make_record,
    make_seconds,
    make_sweep,
)


def make_folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT))


def test_every_cell_has_a_row_whatever_its_outcome() -> None:
    sweep = make_sweep()
    frame = to_frame(sweep)
    assert list(frame["cell_id"]) == [record.cell.id for record in sweep]
    assert dict(frame["outcome"].value_counts()) == {"ok": 18, "skipped": 1, "out_of_memory": 1}
    skipped = frame[frame["outcome"] == "skipped"].iloc[0]
    assert skipped["reason"] == "cpu without bfloat16 instructions"
    measured = [c for c in COLUMNS["cells"] if c.dtype in {"Float64", "boolean"} and c.name != "duration_seconds"]
    assert all(pd.isna(skipped[column.name]) for column in measured)


def test_the_figures_are_those_of_the_raw_samples() -> None:
    record = make_record(step=0.0123, tokens_per_example=64)
    row = to_frame([record]).iloc[0]
    steps = np.array(record.sample_seconds(Phase.STEP))
    assert row["step_median_seconds"] == pytest.approx(np.median(steps))
    assert row["step_low_seconds"] < row["step_median_seconds"] < row["step_high_seconds"]
    assert row["step_p10_seconds"] == pytest.approx(np.quantile(steps, 0.1))
    assert row["step_p90_seconds"] == pytest.approx(np.quantile(steps, 0.9))
    q1, q3 = np.quantile(steps, [0.25, 0.75])
    assert row["step_relative_dispersion"] == pytest.approx((q3 - q1) / np.median(steps))
    assert row["step_n"] == 40 and row["step_processes"] == 1
    assert row["examples_per_second"] == pytest.approx(8 / np.median(steps))
    assert row["tokens_per_second"] == pytest.approx(8 * 64 / np.median(steps))
    assert row["forward_median_seconds"] == pytest.approx(0.30 * np.median(steps))
    assert row["phase_sum_seconds"] == pytest.approx(0.99 * np.median(steps))
    assert row["residual_fraction"] == pytest.approx(0.01)
    assert row["flops_total"] == 2_000_000_000 + 3_800_000_000
    assert row["flops_per_second"] == pytest.approx(5_800_000_000 / np.median(steps))
    assert row["dispatch_count"] == 5


def test_what_was_not_measured_is_na_and_never_zero() -> None:
    record = replace(make_record(), counters=Counters(flops=FlopCount(forward=None)), samples=(), state=None)
    row = to_frame([record]).iloc[0]
    for column in COLUMNS["cells"]:
        if (
            column.name.startswith(("step_", "flops_", "peak_", "predicted_", "forward_"))
            or "per_second" in column.name
        ):
            assert column.name == "flops_is_lower_bound" or pd.isna(row[column.name]), column.name
    assert pd.isna(row["parameters"]) and pd.isna(row["energy_joules"]) and pd.isna(row["dispatch_count"])


def test_forward_flops_alone_are_no_total_of_a_training_step() -> None:
    counters = Counters(flops=FlopCount(forward=100))
    train, infer = (make_record(mode=mode, counters=counters) for mode in (Mode.TRAIN, Mode.INFER))
    frame = to_frame([train, infer])
    assert pd.isna(frame["flops_total"][0]) and pd.isna(frame["flops_per_second"][0])
    assert frame["flops_total"][1] == 100


def test_a_step_of_zero_seconds_has_no_throughput() -> None:
    record = replace(make_record(), samples=(Sample(phase=Phase.STEP, seconds=(0.0,) * 10),))
    row = to_frame([record]).iloc[0]
    assert row["step_median_seconds"] == 0.0
    assert pd.isna(row["examples_per_second"]) and pd.isna(row["flops_per_second"])


def test_phases_have_a_row_per_process() -> None:
    frame = to_frame([make_record(processes=3), make_record("other", mode=Mode.INFER)], "phases")
    first = frame[frame["model"] == "my_net"]
    assert len(first) == 3 * 5
    assert set(first["process"]) == {0, 1, 2}
    medians = first[first["phase"] == "step"].set_index("process")["median_seconds"]
    assert medians[2] / medians[0] == pytest.approx(1.04)
    assert list(frame[frame["model"] == "other"]["phase"]) == ["step", "forward"]
    assert set(frame["warmup_steps"]) == {3}


def test_device_clock_and_discarded_steps_are_in_the_phases() -> None:
    sample = Sample(
        phase=Phase.STEP,
        seconds=make_seconds(0.002),
        clock="device",
        host_seconds=make_seconds(0.001),
        discarded=(("lead-in", 2), ("preempted", 1)),
        converged=True,
    )
    row = to_frame([replace(make_record(), samples=(sample,))], "phases").iloc[0]
    assert (row["clock"], row["discarded_steps"], row["converged"]) == ("device", 3, True)
    assert row["host_median_seconds"] == pytest.approx(0.001)


def test_layers_have_a_row_each() -> None:
    record = make_record(counters=replace(make_counters(), layers=make_layers()))
    frame = to_frame([record, make_record("without")], "layers")
    assert list(frame["layer"]) == ["", "conv1", "conv2", "dropout"]
    assert frame["parameters"].sum() == 896 + 18_496
    assert frame["output_shape"][1] == "8x32x48x48"
    assert pd.isna(frame["flops_forward"][3])


def test_claims_have_a_row_each() -> None:
    frame = to_frame(make_claims(), "claims")
    assert list(frame["verdict"]) == ["match", "match", "mismatch", "erratum", "unmeasured"]
    erratum = frame.iloc[3]
    assert (erratum["documented"], erratum["measured"]) == ("3221504", "18874880")
    assert frame["documented"][1] == "Bx32x48x48"
    assert pd.isna(frame["measured"][4])


@pytest.mark.parametrize("table", COLUMNS)
def test_an_empty_table_has_its_columns_and_types(table: str) -> None:
    frame = to_frame([], table)
    assert list(frame.columns) == [column.name for column in COLUMNS[table]]
    assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in COLUMNS[table]]


def test_an_unknown_table_is_an_error_that_names_the_tables() -> None:
    with pytest.raises(StoreError, match="cells, phases, layers, claims"):
        to_frame([], "cell")


def test_tables_come_back_from_csv_and_parquet(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    record = make_record("with-layers", counters=replace(make_counters(), layers=make_layers()))
    records, claims = (*make_sweep(), record), make_claims()
    paths = write_tables(folder, dict.fromkeys(COLUMNS, records) | {"claims": claims})
    assert sorted(path.name for path in paths) == sorted(
        f"{table}.{kind}" for table in COLUMNS for kind in ("csv", "parquet")
    )
    assert sorted(paths) == sorted(folder.tables_path.iterdir())  # no temporary is left
    for table, columns in COLUMNS.items():
        expected = to_frame(claims if table == "claims" else records, table)
        types = {column.name: column.dtype for column in columns}
        parquet = pd.read_parquet(folder.tables_path / f"{table}.parquet").astype(types)
        pd.testing.assert_frame_equal(parquet, expected)
        csv = pd.read_csv(folder.tables_path / f"{table}.csv", dtype=types)
        empty = expected.map(lambda value: pd.NA if isinstance(value, str) and value == "" else value).astype(types)
        pd.testing.assert_frame_equal(csv, empty, rtol=0, atol=0)  # CSV holds every digit; it cannot tell "" from NA


def test_an_interrupted_table_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path)
    write_tables(folder, {"cells": make_sweep()})
    before = {path.name: path.read_bytes() for path in folder.tables_path.iterdir()}

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="the disk is full"):
        write_tables(folder, {"cells": make_sweep()[:2]})
    assert {path.name: path.read_bytes() for path in folder.tables_path.iterdir()} == before


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n="])
def test_a_text_that_a_spreadsheet_would_run_is_defused_in_csv_only(start: str) -> None:
    text = f'{start}HYPERLINK("http://evil","x")'
    frame = to_frame([make_record(text, step=None, outcome=Outcome.FAILED, reason=text)])
    csv = pd.read_csv(io.BytesIO(to_csv(frame)), dtype="string")
    assert csv["reason"][0].startswith("'" + start[-1]) and csv["model"][0].startswith("'" + start[-1])
    assert frame["reason"][0] == text


def test_harmless_text_and_negative_figures_are_left_alone_in_csv() -> None:
    record = make_record("a=b-c", reason="it's fine")
    slow_marks = replace(record, samples=(*record.samples[:1], replace(record.samples[1], seconds=(1.0,) * 9)))
    csv = pd.read_csv(io.BytesIO(to_csv(to_frame([slow_marks]))))
    assert (csv["model"][0], csv["reason"][0]) == ("a=b-c", "it's fine")
    assert csv["residual_fraction"][0] < -1


@pytest.mark.parametrize("text", ['quote " and, comma', "two\nlines", "broken \udcff", "模型", "null\x00byte"])
def test_odd_text_survives_both_formats(tmp_path: Path, text: str) -> None:
    folder = make_folder(tmp_path)
    write_tables(folder, {"cells": [make_record(step=None, outcome=Outcome.FAILED, reason=text)]})
    expected = text.encode("utf-8", "backslashreplace").decode()
    assert pd.read_parquet(folder.tables_path / "cells.parquet")["reason"][0] == expected
    assert pd.read_csv(folder.tables_path / "cells.csv", engine="python")["reason"][0] == plain(text)


def test_advice_kinds_are_joined_once_each() -> None:
    sweep = make_sweep()
    twice = replace(sweep[0], advice=sweep[0].advice * 2)
    frame = to_frame([twice, sweep[2]])
    assert frame["advice"][0] == "noisy-samples;busy-machine"
    assert pd.isna(frame["advice"][1])


def test_every_axis_of_a_cell_is_a_column() -> None:
    assert set(Cell.__dataclass_fields__) <= {column.name for column in COLUMNS["cells"]}


def test_tables_look_as_they_did() -> None:
    record = make_record("with-layers", counters=replace(make_counters(), layers=make_layers()))
    records = (*make_sweep()[:4], record)
    for table in COLUMNS:
        frame = to_frame(make_claims() if table == "claims" else records, table).map(
            lambda value: (
                float(f"{value:.9g}") if isinstance(value, float) else value
            )  # the last bits may differ by CPU
        )
        check_golden(f"{table}.csv", to_csv(frame.astype({c.name: c.dtype for c in COLUMNS[table]})).decode())


def test_reading_records_loads_no_pandas() -> None:
    code = "import sys, bench.store, bench.store.runs, bench.tables.catalog; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import sys, bench.report.files; sys.exit('pandas' in sys.modules)"  # the check itself can fail
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
