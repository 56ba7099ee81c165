"""Seeded noise like that of real machines (FACTS section 2), and settings for property tests."""

import numpy as np
from hypothesis import HealthCheck, settings

repeatable = settings(
    deadline=None, derandomize=True, database=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)


def ar1(rng, shape, phi):
    """AR(1) series along the last axis with variance 1, stationary from the first value."""
    noise = rng.standard_normal(shape)
    series = np.empty(shape)
    series[..., 0] = noise[..., 0]
    for t in range(1, shape[-1]):
        series[..., t] = phi * series[..., t - 1] + np.sqrt(1 - phi**2) * noise[..., t]
    return series


def sessions(
    rng,
    comparisons,
    sessions=6,
    *,
    slowdown=0.0,
    quads=8,
    random_roles=True,
    process_effect=0.02,
    slot_bias=0.015,
    visit_noise=0.03,
    phi=0.7,
):
    """Session log-ratios, shape (comparisons, sessions): median over quads of mean(y_head) - mean(y_base).

    Each session starts two processes with speeds of their own; the one started second is faster by `slot_bias`.
    Visits carry AR(1) noise; quads are ABBA or BAAB by coin. Without random roles head is always started first.
    """
    shape = (comparisons, sessions)
    head_first = rng.random(shape) < 0.5 if random_roles else np.ones(shape, dtype=bool)
    effects = rng.normal(0, process_effect, (*shape, 2)) @ np.array([1.0, -1.0])
    offset = np.log1p(slowdown) + effects + np.where(head_first, slot_bias, -slot_bias)
    noise = visit_noise * ar1(rng, (*shape, 4 * quads), phi).reshape(*shape, quads, 4)
    abba = noise @ np.array([-0.5, 0.5, 0.5, -0.5])  # head is B
    coin = np.where(rng.random((*shape, quads)) < 0.5, 1.0, -1.0)
    return offset + np.median(coin * abba, axis=-1)


def suite_sessions(rng, benchmarks, sessions, *, slowdown=0.0, shared=0.02, own=0.025, wild=0.0, wildness=0.1):
    """Rows of sessions, columns of benchmarks; the pair of processes is shared, so columns are correlated.

    Only benchmark 0 is slower. A share of `wild` values is off by much more, by a Gaussian of `wildness`.
    """
    shifts = rng.normal(0, shared, (sessions, 1)) + rng.normal(0, own, (sessions, benchmarks))
    if wild:
        is_wild = rng.random(shifts.shape) < wild
        shifts += np.where(is_wild, rng.normal(0, wildness, shifts.shape), 0.0)
    shifts[:, 0] += np.log1p(slowdown)
    return shifts.tolist()
