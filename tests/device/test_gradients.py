"""Nothing is measured of an fp16 step before one has updated the weights."""

import pytest

from bench.device.gradients import MOST_SCALING_STEPS, read_scale, settle_scale


class Step:
    """Overflows so many times; counts its calls."""

    def __init__(self, overflows: int | None) -> None:
        self.calls = 0
        self.left = overflows
        self.scale = 65536.0
        self.scaler = None if overflows is None else self

    def get_scale(self) -> float:
        return self.scale

    def __call__(self) -> None:
        self.calls += 1
        if self.left:
            self.left -= 1
            self.scale /= 2


@pytest.mark.parametrize(
    "overflows, calls", [(None, 0), (0, 1), (4, 5), (16, 17), (1000, MOST_SCALING_STEPS)], ids=lambda value: str(value)
)
def test_steps_run_until_one_updates_the_weights(overflows: int | None, calls: int) -> None:
    step = Step(overflows)
    settle_scale(step)  # type: ignore[arg-type]
    assert step.calls == calls


def test_a_step_without_a_scaler_has_no_scale() -> None:
    assert read_scale(Step(None)) is None  # type: ignore[arg-type]
    assert read_scale(Step(3)) == 65536.0  # type: ignore[arg-type]
