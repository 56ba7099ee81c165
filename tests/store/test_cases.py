from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.core.errors import StoreError
from bench.core.generation import Generation
from bench.core.image_sampling import Sampled
from bench.store.cases import append_case, read_cases
from bench.store.runs import RunFolder, RunInfo
from tests.scenario_cases import FAILED_GENERATION, make_generation, make_sampled


def test_cases_come_back_as_they_were_written(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, RunInfo(started_at="2026-11-23T12:00:00+00:00"))
    written = {make_generation(), make_generation(batch_size=1), FAILED_GENERATION}
    for one in written:
        path = append_case(folder, "generation", one)
        assert json.loads(path.read_text())["case"]["prompt_tokens"] == one.case.prompt_tokens
    append_case(folder, "sampling", make_sampled(5, training=True))
    assert set(read_cases(folder, "generation", Generation)) == written
    assert read_cases(folder, "sampling", Sampled) == (make_sampled(5, training=True),)


def test_a_truncated_case_is_named(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, RunInfo(started_at="2026-11-23T12:00:00+00:00"))
    path = append_case(folder, "generation", make_generation())
    path.write_text(path.read_text()[:50])
    with pytest.raises(StoreError, match=path.name):
        read_cases(folder, "generation", Generation)


def test_the_key_tells_cases_apart() -> None:
    cases = [
        make_generation(),
        make_generation(prompt=33),
        make_generation(uses_cache=False),
        make_generation(batch_size=2),
    ]
    assert len({one.case.key for one in cases}) == len({one.case.id for one in cases}) == 4
