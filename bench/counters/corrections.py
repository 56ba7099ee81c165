"""Fake tensors whose outputs are mended where torch's fake kernels differ from the real ones of the CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes

_NO_KEYWORDS: Mapping[str, Any] = MappingProxyType({})


class CorrectedFakeMode(FakeTensorMode):  # type: ignore[no-untyped-call]
    """Makes every new tensor a fake one; `_CORRECTIONS` names the operations whose outputs it mends."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] = _NO_KEYWORDS
    ) -> Any:
        """Run the fake kernel, then mend what it returned."""
        outputs = super().__torch_dispatch__(func, types, args, kwargs)
        correct = _CORRECTIONS.get(func)
        if correct is None:
            return outputs
        with self:
            return correct(outputs, args)


def _add_lstm_workspace(outputs: Any, args: Sequence[Any]) -> Any:
    """Give oneDNN's LSTM the workspace that it keeps for backward; torch's fake kernel returns an empty one.

    Its layout depends on the processor's instructions, so no formula holds: oneDNN is asked, by running a small layer.
    Exact up to 4 MiB; above, extrapolated from one and two time steps of 64 rows, where every section of it fills
    whole pages. The error is then the rounding of about seven sections to pages: less than 32 KiB, under 1 %.
    """
    inputs, weight = args[0], args[1]
    reverse, hidden, has_biases, training = args[7], args[10], args[12], args[15]
    if not training:
        return outputs
    steps, batch_size, features = inputs.shape
    ask = functools.partial(
        _lstm_workspace_bytes, features=features, hidden=hidden, biases=has_biases, reverse=reverse, dtype=weight.dtype
    )
    first, second = ask(1, 64), ask(2, 64)
    size = (first + (steps - 1) * (second - first)) * batch_size // 64
    if size <= 4 * 2**20:
        size = ask(steps, batch_size)
    return (*outputs[:3], torch.empty(size, dtype=torch.uint8, device=inputs.device))


@functools.cache
def _lstm_workspace_bytes(
    steps: int, batch_size: int, *, features: int, hidden: int, biases: bool, reverse: bool, dtype: torch.dtype
) -> int:
    with _disable_current_modes(), torch.inference_mode(False), torch.enable_grad():  # else it keeps no workspace
        weights = [torch.zeros(4 * hidden, size, dtype=dtype) for size in (features, hidden)]
        bias = torch.zeros(4 * hidden, dtype=dtype)
        state = torch.zeros(1, batch_size, hidden, dtype=dtype)
        inputs = torch.zeros(steps, batch_size, features, dtype=dtype)
        outputs = torch.ops.aten.mkldnn_rnn_layer(
            inputs, *weights, bias, bias, state, state, reverse, [], 2, hidden, 1, biases, False, False, True
        )
        return int(outputs[3].numel())


def _keep_statistics_wide(outputs: Any, args: Sequence[Any]) -> Any:
    """Keep the saved mean and deviation of batch normalisation in the weight's type, as the real kernel does."""
    weight = args[1]
    if weight is None or outputs[1].dtype is weight.dtype:
        return outputs
    return (outputs[0], outputs[1].to(weight.dtype), outputs[2].to(weight.dtype), *outputs[3:])


def _separate_bias_gradients(outputs: Any, _: Sequence[Any]) -> Any:
    """Give the LSTM's two biases a gradient each; the fake kernel returns one tensor twice, but not from its cache."""
    if outputs[3] is None or outputs[3] is not outputs[4]:
        return outputs
    return (*outputs[:4], outputs[4].clone(), *outputs[5:])


def _keep_unreduced_loss(outputs: Any, args: Sequence[Any]) -> Any:
    """Let a reduced loss keep the memory of the unreduced one: the real kernels compute that and shrink it in place."""
    elements = torch.broadcast_shapes(args[0].shape, args[1].shape).numel()  # type: ignore[no-untyped-call]
    if outputs.dim() != 0 or elements <= 1:
        return outputs
    return torch.empty(elements, dtype=outputs.dtype, device=outputs.device).as_strided((), ())


_CORRECTIONS: dict[Any, Callable[[Any, Sequence[Any]], Any]] = {
    torch.ops.aten.mkldnn_rnn_layer.default: _add_lstm_workspace,
    torch.ops.aten.mkldnn_rnn_layer_backward.default: _separate_bias_gradients,
    torch.ops.aten.native_batch_norm.default: _keep_statistics_wide,
    torch.ops.aten.mse_loss.default: _keep_unreduced_loss,
    torch.ops.aten.smooth_l1_loss.default: _keep_unreduced_loss,
    torch.ops.aten.binary_cross_entropy.default: _keep_unreduced_loss,
    torch.ops.aten.soft_margin_loss.default: _keep_unreduced_loss,
}
