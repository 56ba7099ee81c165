"""What a bare `nn.Module` lacks: a batch, a loss and an optimizer that suit any network of one float input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.core.errors import ModelError
from bench.core.workload import Batch, Workload

if TYPE_CHECKING:
    import torch

AUXILIARY_WEIGHT = 0.3  # of each auxiliary classifier's loss, as in the GoogLeNet paper (Szegedy et al., 2014)


def bare_workload(
    name: str,
    build_model: Callable[[], torch.nn.Module],
    input_shape: tuple[int, ...],
    source_file: str | None,
    loss: Callable[[Any, Any], torch.Tensor] | None = None,
) -> Workload:
    """Complete a module into a Workload: normal random input, `default_loss`, SGD."""

    def make_batch(batch_size: int, device: str | torch.device) -> Batch:
        import torch

        inputs = torch.randn(batch_size, *input_shape, device=device)
        # How many classes there are is known only from the output, so the loss takes these modulo that number.
        return (inputs,), torch.randint(2**31, (batch_size,), device=device)

    return Workload(
        name=name,
        build_model=build_model,
        make_batch=make_batch,
        loss=default_loss if loss is None else loss,
        make_optimizer=default_optimizer,
        source_file=source_file,
    )


def default_loss(outputs: Any, targets: Any) -> torch.Tensor:
    """Compute cross entropy of logits `(B, n)`, n > 1, against `targets % n`; else the mean square of every output.

    Where the output is a tuple, list or mapping, the mean squares of all float tensors in it are added. No value is
    read by the host. The number means nothing; it gives every output a gradient.

    Raises:
        ModelError: The output holds no float tensor.
    """
    import torch

    if isinstance(outputs, torch.Tensor) and outputs.dim() == 2 and outputs.shape[1] > 1:
        return torch.nn.functional.cross_entropy(outputs, targets % outputs.shape[1])
    squares = [tensor.square().mean() for tensor in _float_tensors(outputs)]
    if not squares:
        raise ModelError(
            f"the model returned a {type(outputs).__name__} without a float tensor; pass a Workload with its own loss"
        )
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return total


def classifier_loss(outputs: Any, targets: Any) -> torch.Tensor:
    """Compute `default_loss` of the logits, plus 0.3 times that of each auxiliary classifier (GoogLeNet, Inception)."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return default_loss(outputs, targets)
    main, *auxiliary = (output for output in outputs if output is not None)
    total = default_loss(main, targets)
    for logits in auxiliary:
        total = total + AUXILIARY_WEIGHT * default_loss(logits, targets)
    return total


def default_optimizer(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Make SGD, lr 1e-3, momentum 0.9: the least that a training step of a vision model has."""
    import torch

    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)


def _float_tensors(value: Any) -> Iterator[torch.Tensor]:
    """Walk through tuples, lists and mappings (dataclass outputs of libraries are mappings too)."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _float_tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _float_tensors(item)
