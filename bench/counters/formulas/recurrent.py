# ruff: noqa: ARG001 - a formula has its operation's signature
"""FLOPs of fused recurrent layers, the same as of the step-by-step computation that other devices run.

Per direction, with G gates (LSTM 4, GRU 3, RNN 1), input width I, hidden width H, recurrent width R (H, or the
projection's P) and n tokens (time steps x batch):

    forward    input products 2 n G H I + hidden products 2 n G H R + projection 2 n H P
    backward   each of these once per gradient: of the weights, and of what they multiply

except that nobody asks for the gradient of the initial state (unless it needs one): of the hidden products' input
gradient one time step, 2 B G H R, is left out; and the first layer's input gradient counts only if asked for.
So backward is twice the forward, less at most that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import ScriptObject, Tensor

from bench.counters.formulas.cost import Cost, asked_gradients
from bench.counters.parameters import unpacked

_GATES = {0: 1, 1: 1, 2: 4, 3: 3}  # torch's numbers of the kinds: RNN with ReLU, RNN with tanh, LSTM, GRU


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of one layer: the FLOPs of one pass over each of its products."""

    into: int  # input times its weight
    hidden: int  # recurrent state times its weight
    hidden_first: int  # of it, the share of the first time step
    projection: int

    def forward(self) -> int:
        return self.into + self.hidden + self.projection

    def backward(self, *, weights: bool, inputs: bool, state: bool) -> int:
        chain = self.hidden - (0 if state else self.hidden_first) + self.projection + (self.into if inputs else 0)
        return chain + (self.forward() if weights else 0)


def _direction(tokens: int, batch: int, gates: int, width: int, hidden: int, projection: int) -> _Direction:
    recurrent = projection or hidden
    return _Direction(
        into=2 * tokens * gates * hidden * width,
        hidden=2 * tokens * gates * hidden * recurrent,
        hidden_first=2 * batch * gates * hidden * recurrent,
        projection=2 * tokens * hidden * projection,
    )


def quantized_layers(x: Tensor, *args: Any, **_: Any) -> int:
    """`quantized_lstm` and `quantized_gru`: every token times every packed weight."""
    packed = next(arg for arg in args if isinstance(arg, list | tuple) and arg and isinstance(arg[0], ScriptObject))
    tokens = x.numel() // x.shape[-1]
    return 2 * tokens * sum(weight.numel() for weight in unpacked(packed) if weight.dim() == 2)


def mkldnn_layer(x: Tensor, *args: Any, **_: Any) -> int:
    """`mkldnn_rnn_layer`: one direction of one LSTM layer on the CPU, `(T, B, I)`; torch counts 0."""
    hx, mode, hidden = args[4], args[8], args[9]
    tokens = x.numel() // x.shape[-1]
    return _direction(tokens, hx.shape[-2], _GATES[mode], x.shape[-1], hidden, 0).forward()


def mkldnn_layer_backward(x: Tensor, *args: Any, **_: Any) -> int:
    """`mkldnn_rnn_layer_backward`; which gradients were asked for, autograd's graph tells. torch counts 0."""
    hx, mode, hidden = args[4], args[13], args[14]
    asked = asked_gradients(7)  # input, four weights, hx, cx
    tokens = x.numel() // x.shape[-1]
    direction = _direction(tokens, hx.shape[-2], _GATES[mode], x.shape[-1], hidden, 0)
    return direction.backward(weights=any(asked[1:5]), inputs=asked[0], state=asked[5])


def _layers(
    x: Tensor, hx: Tensor, mode: int, hidden: int, projection: int, layers: int, directions: int
) -> list[list[_Direction]]:
    """All directions of all layers; x is `(T, B, I)`, `(B, T, I)`, or packed `(tokens, I)`."""
    tokens, batch = x.numel() // x.shape[-1], hx.shape[-2]
    widths = [x.shape[-1]] + [(projection or hidden) * directions] * (layers - 1)
    return [[_direction(tokens, batch, _GATES[mode], width, hidden, projection)] * directions for width in widths]


def cudnn_layers(
    x: Tensor,
    weight: Any,
    weight_stride: int,
    weight_buffer: Any,
    hx: Tensor,
    cx: Any,
    mode: int,
    hidden: int,
    projection: int,
    layers: int,
    batch_first: bool,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_sizes: Sequence[int],
    *_: Any,
    **__: Any,
) -> int:
    """`_cudnn_rnn`: all layers and directions in one operation; torch counts 0."""
    every = _layers(x, hx, mode, hidden, projection, layers, 1 + bidirectional)
    return sum(direction.forward() for layer in every for direction in layer)


def cudnn_layers_backward(
    x: Tensor,
    weight: Any,
    weight_stride: int,
    weight_buffer: Any,
    hx: Tensor,
    cx: Any,
    output: Any,
    grad_output: Any,
    grad_hy: Any,
    grad_cy: Any,
    mode: int,
    hidden: int,
    projection: int,
    layers: int,
    batch_first: bool,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_sizes: Sequence[int],
    dropout_state: Any,
    reserve: Any,
    output_mask: Sequence[bool],
    **_: Any,
) -> int:
    """`_cudnn_rnn_backward`; `output_mask` asks for input, hx, cx, weights. torch counts 0."""
    every = _layers(x, hx, mode, hidden, projection, layers, 1 + bidirectional)
    inputs, state, _cell, weights = output_mask
    return sum(
        direction.backward(weights=weights, inputs=inputs or depth > 0, state=state)
        for depth, layer in enumerate(every)
        for direction in layer
    )


FORMULAS: dict[str, tuple[Callable[..., int | Cost], bool]] = {
    "mkldnn_rnn_layer": (mkldnn_layer, False),
    "mkldnn_rnn_layer_backward": (mkldnn_layer_backward, False),
    "quantized_lstm": (quantized_layers, False),
    "quantized_gru": (quantized_layers, False),
    "_cudnn_rnn": (cudnn_layers, False),
    "_cudnn_rnn_backward": (cudnn_layers_backward, False),
}
