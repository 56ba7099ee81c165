"""Check documented values: find the claims, have their subjects counted in a fresh process, judge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.claims import check, check_counters, load, needed, shipped_files
from bench.claims.check import reference, subject
from bench.claims.torchvision import torchvision_claims
from bench.core.claim import CheckedClaim, Claim
from bench.core.errors import BenchError
from bench.core.record import Outcome
from bench.runner import processes
from bench.runner.answers import CountedSubjects


def check_models(models: Sequence[str], *, method: str = "forkserver") -> tuple[CheckedClaim, ...]:
    """Check the shipped claims about these models, whatever their options; () if no document mentions them."""
    names = {model.partition("@")[0] for model in models}
    claims = [claim for path in shipped_files() for claim in load(path)]
    return check_claims([claim for claim in claims if claim.model.partition("@")[0] in names], method=method)


def check_files(paths: Iterable[Path], *, method: str = "forkserver") -> tuple[CheckedClaim, ...]:
    """Check every claim of these files.

    Raises:
        ClaimError: A file cannot be read.
    """
    return check_claims([claim for path in paths for claim in load(path)], method=method)


def check_shipped() -> tuple[CheckedClaim, ...]:
    """Check every claim that comes with stepbench: the seed page's and the published counts."""
    return check_files(shipped_files())


def check_torchvision() -> tuple[CheckedClaim, ...]:
    """Check what torchvision documents of its classification models: `num_params` and `_ops` of every weights entry.

    The documents are read in a fresh process, because they are Python objects of torchvision.
    """
    processes.preload("torchvision")
    ending = processes.call("bench.runner.worker:read_torchvision_documents")
    if ending.outcome is not Outcome.OK:
        raise ending.error or BenchError(f"torchvision's documents could not be read: {ending.reason}")
    return check_claims(torchvision_claims(ending.value))


def check_claims(claims: Sequence[Claim], *, method: str = "forkserver") -> tuple[CheckedClaim, ...]:
    """Count what the claims are about and judge them, in their order; nothing is timed and nothing allocated."""
    if not claims:
        return ()
    wanted = tuple(needed(claims))
    if any(one.model.startswith("torchvision:") for one in wanted):
        processes.preload("torchvision")
    ending = processes.call("bench.runner.worker:count_subjects", wanted, method=method)
    if ending.outcome is not Outcome.OK:
        raise ending.error or BenchError(f"the models could not be counted: {ending.reason}")
    answer: CountedSubjects = ending.value
    counted = dict(answer.counters)
    reasons = dict(answer.reasons)
    checked = []
    for claim in claims:
        other = reference(claim)
        sides = [side for side in (subject(claim), other) if side is not None]
        failed = [side for side in sides if side not in counted]
        if failed:
            checked.append(check(claim, None, reasons[failed[0]]))
        else:
            relative_to = counted[other] if other else None
            checked.append(check_counters(claim, counted[subject(claim)], answer.batch_size, relative_to))
    return tuple(checked)
