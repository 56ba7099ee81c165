from __future__ import annotations

import json
from pathlib import Path

from bench.core.jsonio import to_json
from bench.store.cases import read_generations, read_images, write_case
from bench.store.runs import RunFolder, RunInfo
from tests.scenario_cases import FAILED_GENERATION, make_generation, make_sampled


def test_cases_come_back_as_they_were_written_in_the_planned_order(tmp_path: Path) -> None:
    written = (make_generation(), FAILED_GENERATION, make_generation(batch_size=1))
    settings = {"generation": [to_json(one.case) for one in written]}
    folder = RunFolder.create(tmp_path, RunInfo(started_at="2026-11-23T12:00:00+00:00", settings=settings))
    for one in written:
        path = write_case(folder, one)
        assert json.loads(path.read_text())["case"]["prompt_tokens"] == one.case.prompt_tokens
    write_case(folder, make_sampled(5, training=True))
    assert read_generations(folder) == (written, ())
    assert read_images(folder) == ((make_sampled(5, training=True),), ())


def test_a_truncated_case_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, RunInfo(started_at="2026-11-23T12:00:00+00:00"))
    path = write_case(folder, make_generation())
    write_case(folder, FAILED_GENERATION)
    path.write_text(path.read_text()[:50])
    found, (problem,) = read_generations(folder)
    assert found == (FAILED_GENERATION,)
    assert path.name in str(problem)


def test_the_key_tells_cases_apart() -> None:
    cases = [
        make_generation(),
        make_generation(prompt=33),
        make_generation(uses_cache=False),
        make_generation(batch_size=2),
    ]
    assert len({one.case.key for one in cases}) == len({one.case.id for one in cases}) == 4
