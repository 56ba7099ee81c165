"""Check documented values: find the claims, have their subjects counted in fresh processes, judge.

`limits` are `method` and `timeout_seconds` of each process, as in `processes.call`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import registry
from bench.claims.check import BATCH_SIZE, Subject, check, check_counters, needed, reference, subject
from bench.claims.files import load, load_ratios, shipped_files, timm_file
from bench.claims.ratios import check_ratio, is_timed, needed_cells, unmeasured
from bench.claims.torchvision import torchvision_claims
from bench.core.cell import Cell
from bench.core.claim import CheckedClaim, Claim
from bench.core.record import Counters, Outcome
from bench.runner import processes
from bench.runner.counting import call_each
from bench.runner.workers.answers import CountedSubjects

_WORKER = "bench.runner.workers.cells"

NO_TIME = "a time; bench check --time measures it"


def check_models(models: Sequence[str], **limits: Any) -> tuple[CheckedClaim, ...]:
    """Check the shipped claims about these models, whatever their options; () if no document mentions them.

    Ratios of counts are checked where both sides are different models among these, or the same with different options:
    what a sweep compares. Times are left to `check_times`.
    """
    names = {_family(model) for model in models}
    claims = [claim for path in shipped_files() for claim in load(path)]
    mine = [claim for claim in claims if _family(claim.model) in names]
    ratios = [ratio for path in shipped_files() for ratio in load_ratios(path) if not is_timed(ratio)]
    compared = [ratio for ratio in ratios if _is_compared(ratio, models)]
    return check_claims(mine, **limits) + check_ratios(compared, **limits)


def check_files(paths: Iterable[Path], **limits: Any) -> tuple[CheckedClaim, ...]:
    """Check every claim of these files; a ratio of times is UNMEASURED here.

    Raises:
        UsageError: A file cannot be read.
    """
    files = tuple(paths)
    claims = [claim for path in files for claim in load(path)]
    ratios = [ratio for path in files for ratio in load_ratios(path)]
    return check_claims(claims, **limits) + check_ratios(ratios, **limits)


def check_shipped(**limits: Any) -> tuple[CheckedClaim, ...]:
    """Check every claim that comes with stepbench: the seed page's and the published counts."""
    return check_files(shipped_files(), **limits)


def check_torchvision(**limits: Any) -> tuple[CheckedClaim, ...]:
    """Check what torchvision documents of its classification models: `num_params` and `_ops` of every weights entry.

    The documents are read in a fresh process, because they are Python objects of torchvision.
    """
    processes.preload("torchvision")
    ending = processes.call("bench.registry.torchvision:torchvision_documents", **limits)
    documents = ending.checked("torchvision's documents could not be read")
    return check_claims(torchvision_claims(documents), **limits)


def check_timm(**limits: Any) -> tuple[CheckedClaim, ...]:
    """Check what timm publishes of its models: parameters and forward GMACs.

    Raises:
        ModelError: timm is not installed.
    """
    claims = load(timm_file())
    registry.check(claims[0].model)
    return check_claims(claims, **limits)


def check_claims(claims: Sequence[Claim], **limits: Any) -> tuple[CheckedClaim, ...]:
    """Count what the claims are about and judge them, in their order; nothing is timed and nothing allocated."""
    if not claims:
        return ()
    wanted = tuple(needed(claims))
    processes.preload_libraries([one.model for one in wanted])
    # One process per model and its options: what hangs or crashes costs its own claims only.
    groups = [tuple(group) for _, group in itertools.groupby(wanted, key=lambda one: _family(one.model))]
    endings = call_each(f"{_WORKER}:count_subjects", [(group,) for group in groups], "counting", **limits)
    counted: dict[Subject, Counters] = {}
    reasons: dict[Subject, str] = {}
    for group, ending in zip(groups, endings, strict=True):
        if ending.outcome is Outcome.OK:
            answer: CountedSubjects = ending.value
            counted |= dict(answer.counters)
            reasons |= dict(answer.reasons)
        else:
            reasons |= dict.fromkeys(group, ending.reason or ending.outcome.value)
    checked = []
    for claim in claims:
        other = reference(claim)
        sides = [side for side in (subject(claim), other) if side is not None]
        failed = [side for side in sides if side not in counted]
        if failed:
            checked.append(check(claim, None, reasons[failed[0]]))
        else:
            relative_to = counted[other] if other else None
            checked.append(check_counters(claim, counted[subject(claim)], BATCH_SIZE, relative_to))
    return tuple(checked)


def check_ratios(ratios: Sequence[Claim], **limits: Any) -> tuple[CheckedClaim, ...]:
    """Count the cells of ratios and judge them, in their order; a time is UNMEASURED, because nothing is timed here."""
    wanted = tuple(needed_cells(ratios).items())
    counted: dict[Cell, Counters] = {}
    reasons: dict[Cell, str] = {}
    calls = [(cell, False, needs_steps) for cell, needs_steps in wanted]
    endings = call_each(f"{_WORKER}:count_cell", calls, "counting ratios", **limits)
    for (cell, _), ending in zip(wanted, endings, strict=True):
        if ending.outcome is Outcome.OK:
            counted[cell] = ending.value.counters
        else:
            reasons[cell] = ending.reason or ending.outcome.value
    return tuple(_check_ratio(ratio, counted, reasons) for ratio in ratios)


def _check_ratio(ratio: Claim, counted: dict[Cell, Counters], reasons: dict[Cell, str]) -> CheckedClaim:
    if is_timed(ratio):
        return unmeasured(ratio, NO_TIME)
    assert ratio.cell is not None and ratio.reference_cell is not None
    failed = next((cell for cell in (ratio.cell, ratio.reference_cell) if cell in reasons), None)
    if failed is not None:
        return unmeasured(ratio, reasons[failed])
    return check_ratio(ratio, counted[ratio.cell], counted[ratio.reference_cell])


def _is_compared(ratio: Claim, models: Sequence[str]) -> bool:
    """Whether both sides of a ratio are different models that each have a model of a run as an example."""
    sides = (ratio.model, ratio.relative_to or "")
    return sides[0] != sides[1] and all(any(_is_example(model, side) for model in models) for side in sides)


def _is_example(model: str, general: str) -> bool:
    """Whether a model is another one, perhaps with more options: `mlp@depth=2,loss=mse` of `mlp@loss=mse`."""
    return _family(model) == _family(general) and _options(general) <= _options(model)


def _family(model: str) -> str:
    """Return a model's name without its options."""
    return model.partition("@")[0]


def _options(model: str) -> set[str]:
    return set(filter(None, model.partition("@")[2].split(",")))
