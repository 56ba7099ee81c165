from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.core.errors import StoreError
from bench.core.record import SCHEMA, Record
from bench.store.codec import MIGRATIONS, from_file, migrate, to_bytes
from tests.goldens import GOLDEN, check_golden
from tests.records import LOWER_BOUND, NOISY, make_counters, make_layers, make_record


def test_records_of_schema_1_are_still_readable() -> None:
    # Written by stepbench 0.1.0 and never refreshed: it must be read for ever.
    record = from_file(Record, GOLDEN / "record-schema-1.json")
    assert record.cell.id == "my_net/train/b8/cpu/fp32"
    assert record.cell.key == "a40d002417cecee0"
    assert record.counters.parameters == 9_547_360
    assert record.sample_seconds(record.samples[0].phase)[0] > 0


def test_records_of_schema_2_are_still_readable() -> None:
    record = from_file(Record, GOLDEN / "record-schema-2.json")
    assert (record.schema, record.cell.key, record.code) == (SCHEMA, "a40d002417cecee0", None)


def test_records_of_schema_3_are_still_readable() -> None:
    record = from_file(Record, GOLDEN / "record-schema-3.json")
    assert (record.schema, record.cell.key, record.samples[0].rank) == (SCHEMA, "a40d002417cecee0", 0)


def test_a_record_of_schema_1_has_no_code_and_becomes_todays() -> None:
    record = from_file(Record, GOLDEN / "record-schema-1.json")
    assert (record.schema, record.code) == (SCHEMA, None)


def test_todays_record_looks_as_it_did() -> None:
    """A change here is a change of schema: bump SCHEMA, add a migration and a golden file."""
    record = make_record(n=6, advice=(NOISY, LOWER_BOUND), counters=replace(make_counters(), layers=make_layers()))
    check_golden("record.json", to_bytes(record, "x").decode())


def test_every_old_schema_has_a_migration() -> None:
    assert set(MIGRATIONS) == set(range(1, SCHEMA))


def test_migrations_run_in_order_and_leave_their_input_alone() -> None:
    def rename(data: dict[str, Any]) -> dict[str, Any]:
        return {**{k: v for k, v in data.items() if k != "speed"}, "latency": data["speed"]}

    def scale(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "latency": data["latency"] / 1000}

    old = {"schema": 1, "speed": 5}
    assert migrate(old, "f", migrations={1: rename, 2: scale}, current=3) == {"schema": 3, "latency": 0.005}
    assert old == {"schema": 1, "speed": 5}


def test_a_schema_without_a_way_here_is_an_error() -> None:
    with pytest.raises(StoreError, match="schema 1"):
        migrate({"schema": 1}, "f", migrations={}, current=3)


@pytest.mark.parametrize("data", [None, 3, [], {}, {"schema": None}, {"schema": "1"}, {"schema": True}])
def test_what_has_no_schema_number_is_not_ours(data: object) -> None:
    with pytest.raises(StoreError, match="not a stepbench file"):
        migrate(data, "f")
