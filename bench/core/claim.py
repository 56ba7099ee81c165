"""What a document says of a model, or a user of its latency, and what came of checking it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bench.core.cell import Cell
from bench.core.estimate import Estimate
from bench.core.units import parse_seconds

ClaimValue = int | float | tuple[int | None, ...]
"""A number, or a shape in which None stands for the batch size."""


class ClaimVerdict(StrEnum):
    """ERRATUM: the document is wrong or means another network, and the claim says which beside the value on record.

    INCONCLUSIVE is for measured times only: the sessions neither show the claim nor the opposite.
    """

    MATCH = "match"
    MISMATCH = "mismatch"
    ERRATUM = "erratum"
    UNMEASURED = "unmeasured"
    INCONCLUSIVE = "inconclusive"


class Relation(StrEnum):
    """How the measured value stands to the documented one: `cheaper` is documented as BELOW 1, without a figure."""

    EQUAL = "equal"
    BELOW = "below"
    ABOVE = "above"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erratum:
    """Why a document is known not to agree: the value that measuring gives, and the reason, which was verified."""

    measured: ClaimValue
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One documented value.

    Attributes:
        id: Unique within its file: `conv1.parameters`.
        model: Model spec of the subject.
        layer: Dotted module path within it; None is the whole model.
        quantity: One of `bench.claims.quantities.QUANTITIES`.
        value: Value as documented; counts of operations and elements are of one example. With `relative_to`, a ratio.
        relative_to: Model spec whose same quantity the value is a multiple of; None is an absolute value.
        relative_layer: The layer of that other model, where it is not `layer`.
        input_shape: Shape of one example for which the value holds; None is the model's own.
        scope: What the number includes, in words: "weights and biases".
        tolerance: Relative; 0 is exact.
        source: Document and place.
        erratum: Set where the document is known to be wrong.
        relation: What the measured value has to be to the documented one.
        cell: Subject of a ratio between two cells; `model` is its model. None for other claims.
        reference_cell: The cell that it is held against; set exactly where `cell` is.
        reference_quantity: Quantity of the reference, where it is not `quantity`.
    """

    id: str
    model: str
    layer: str | None = None
    quantity: str
    value: ClaimValue
    relative_to: str | None = None
    relative_layer: str | None = None
    input_shape: tuple[int, ...] | None = None
    scope: str = ""
    tolerance: float = 0.0
    source: str = ""
    erratum: Erratum | None = None
    relation: Relation = Relation.EQUAL
    cell: Cell | None = None
    reference_cell: Cell | None = None
    reference_quantity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedClaim:
    """A claim beside its measured value; `measured` is None where it could not be measured, and `reason` says why.

    Attributes:
        interval: Interval of a ratio of times over sessions of processes, around `measured`. None for a count.
    """

    claim: Claim
    measured: ClaimValue | None
    verdict: ClaimVerdict
    reason: str = ""
    interval: Estimate | None = None


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
