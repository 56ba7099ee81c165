"""Reads a model without a clock: parameters, FLOPs, layers, dispatched operations, bytes, memory.

- `count(workload, cell)`: everything that can be counted before a cell runs (`static`)
- `count_workload(workload, mode=..., batch_size=...)`: parameters, FLOPs, layers and second opinions (`flops`)
- `count_module(module, inputs, backward=True)`: the FLOPs of any module, by layer and by operation
- `count_parameters(model)`, `on_meta(build)`: tensors once each; a model without its numbers
- `register_formula(operation, formula)`: teach the counter a user's own operation (`formulas`)

FLOPs: 1 MAC = 2; products of matrices and convolutions; dense, whatever the mask. `build` makes the model without its
numbers, `tally` counts what is dispatched (`modes`), `formulas` say what it costs, `audit` names what nobody can count,
`modules` finds the layer, `opinions` asks others, `parameters` counts tensors, `tensors` finds them. `fakes` makes
whole steps on tensors without storage, in an accelerator's `autocast` where the cell is of one: of them `dispatches`
counts operations and bytes, `timeline` follows the storages, `memory` reads the peak (and measures it while steps
really run), `fit` looks for the largest batch. `cache` remembers what operations return on tensors without values,
`shortcuts` knows it of the slowest.
In goes a Workload or a module; out come `Counters` and `Advice`. Called by `measure` and `bench.runner.workers`.
"""

from bench.counters.build import on_meta
from bench.counters.flops import count_module, count_workload
from bench.counters.formulas.table import register_formula
from bench.counters.parameters import count_parameters
from bench.counters.static import count

__all__ = ["count", "count_module", "count_parameters", "count_workload", "on_meta", "register_formula"]
