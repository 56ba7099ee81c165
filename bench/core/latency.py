"""A limit that a share of the steps must keep: `p99=50ms`, and whether they do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.units import parse_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So large a share of the steps takes at most so long."""

    probability: float
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `p99=50ms`.

        Raises:
            ValueError: It is no such limit; the message says what one is.
        """
        name, equals, limit = text.replace("<=", "=").partition("=")
        percent = name.strip().lower().removeprefix("p")
        try:
            value = float(percent)
            seconds = parse_seconds(limit.strip())
        except ValueError:
            value, seconds = 0.0, 0.0
        has_unit = bool(limit.strip()) and limit.strip()[-1] not in "0123456789."
        if not (equals and name.strip().lower().startswith("p") and 0 < value < 100 and seconds > 0 and has_unit):
            raise ValueError(f"{text!r} is no limit; write for example p99=50ms")
        return cls(probability=value / 100, seconds=seconds)

    @property
    def name(self) -> str:
        """Name of the quantile: `p99`."""
        return f"p{self.probability * 100:.10g}"


class LatencyVerdict(StrEnum):
    """Whether a limit is kept."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedLimit:
    """A limit, held against the steps of one case.

    Attributes:
        name: Of the case, for people.
        n: Steps.
        n_effective: Independent values that they are worth.
        over: Steps that took longer.
        more: Further steps that would pass it if none of them took longer; None where it is decided.
    """

    name: str
    limit: Limit
    verdict: LatencyVerdict
    n: int
    n_effective: float
    over: int
    more: int | None = None
