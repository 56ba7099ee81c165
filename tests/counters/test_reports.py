# ruff: noqa: ARG005
"""Inputs from public bug reports against counters of this kind, each with its right value by hand."""

import random
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import registry
from bench.core.advice import AdviceKind
from bench.core.cell import Cell, GradMode, Mode, Precision
from bench.core.errors import ModelError
from bench.core.workload import Workload
from bench.counters.flops import count_workload
from bench.counters.static import count
from bench.device.prepare import prepare

FOLDER = Path(__file__).parent / "reports"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def counted(name, callable_name, *, batch_size, shape=None, mode=Mode.INFER, **axes):
    spec = f"{FOLDER / name}.py:{callable_name}"
    cell = Cell(model=spec, mode=mode, batch_size=batch_size, input_shape=shape, **axes)
    return count(registry.resolve(spec, input_shape=shape), cell, opinions=False)


def values(counters):
    return counters.flops.forward, counters.flops.backward


@pytest.mark.parametrize("layout", ["coo", "csr"])
@pytest.mark.parametrize(("mode", "backward"), [(Mode.INFER, None), (Mode.TRAIN, 304_000)])
def test_a_sparse_graph_is_counted_by_its_stored_entries(layout, mode, backward):
    counters, advice = counted("sparse_gcn", f"gcn@layout={layout}", batch_size=1, mode=mode)
    assert values(counters) == (304_000, backward)
    assert counters.dispatches
    assert counters.predicted_peak is not None
    assert "real cpu (fp32)" in counters.flops.method
    assert advice == ()


@pytest.mark.parametrize("kind", ["Linear", "Conv"])
def test_a_complex_product_is_eight_flops_however_it_is_written(kind):
    counters, _ = counted("complex", kind, batch_size=4, shape=(16,), mode=Mode.TRAIN)
    assert values(counters) == (16_384, 16_384)


@pytest.mark.parametrize("kind", ["scripted", "traced", "Child"])
def test_scripted_and_traced_modules_are_counted(kind):
    counters, advice = counted("scripted", kind, batch_size=4, shape=(8,))
    assert (values(counters), counters.parameters, advice) == ((1_536, None), 212, ())


@pytest.mark.parametrize(("mode", "forward"), [(Mode.INFER, 405_504), (Mode.TRAIN, 617_472)])
def test_a_padded_encoder_is_packed_in_inference_and_dense_in_training(mode, forward):
    counters, advice = counted("padded_encoder", "net", batch_size=3, mode=mode)
    assert counters.flops.forward == forward
    assert counters.dispatches
    assert advice == ()


def test_a_model_that_draws_is_random_and_counted_alike():
    first, advice = counted("random_depth", "Net", batch_size=4, shape=(16,), mode=Mode.TRAIN)
    random.seed(17)
    assert (first, advice) == counted("random_depth", "Net", batch_size=4, shape=(16,), mode=Mode.TRAIN)
    assert [one.kind for one in advice] == [AdviceKind.RANDOM_STEP]
    inference, advice = counted("random_depth", "Net", batch_size=4, shape=(16,))
    assert inference.flops.forward == 16_384
    assert advice == ()


@pytest.mark.parametrize("kind", ["Net", "parallel"])
def test_marks_and_a_parallel_wrapper_cost_nothing_and_raise_no_doubt(kind):
    counters, advice = counted("record_function", kind, batch_size=4, shape=(8,), mode=Mode.TRAIN)
    assert (values(counters), counters.flops.uncounted, advice) == ((256, 256), (), ())


def test_parameters_behind_packed_weights_are_counted():
    counters, _ = counted("int8_parameters", "net", batch_size=4, shape=(8,))
    assert (counters.parameters, counters.flops.forward) == (212, 1_536)


@pytest.mark.parametrize(("mode", "backward"), [(Mode.INFER, None), (Mode.TRAIN, 1_664)])
def test_a_model_that_differentiates_in_forward_is_counted_and_says_how(mode, backward):
    counters, advice = counted("forces", "Net", batch_size=4, shape=(3,), mode=mode)
    assert values(counters) == (1_024, backward)
    assert [dict(one.facts) for one in advice] == ([{"mode": "no_grad"}] if mode is Mode.INFER else [])


def test_a_step_that_differentiates_stays_out_of_inference_mode():
    spec = f"{FOLDER / 'forces'}.py:Net"
    cell = Cell(model=spec, mode=Mode.INFER, batch_size=4, input_shape=(3,))
    with prepare(registry.resolve(spec, input_shape=(3,)), cell) as step:
        step()
        assert step.gradients is torch.no_grad
        step()


@pytest.mark.parametrize("asked", [GradMode.NO_GRAD, GradMode.ENABLED])
def test_a_gradient_mode_that_was_asked_for_is_used_and_is_no_doubt(asked):
    counters, advice = counted("forces", "Net", batch_size=4, shape=(3,), grad_mode=asked)
    assert (counters.flops.forward, advice) == (1_024, ())
    spec = f"{FOLDER / 'record_function'}.py:Net"
    cell = Cell(model=spec, mode=Mode.INFER, batch_size=4, input_shape=(8,), grad_mode=asked)
    with prepare(registry.resolve(spec, input_shape=(8,)), cell) as step:
        outputs = step.forward()
        assert (outputs.requires_grad, outputs.is_inference()) == (asked is GradMode.ENABLED, False)
        assert step.fallback_mode is None


def test_inference_mode_that_was_asked_for_is_refused_with_the_cause():
    spec = f"{FOLDER / 'forces'}.py:Net"
    cell = Cell(model=spec, mode=Mode.INFER, batch_size=4, input_shape=(3,), grad_mode=GradMode.INFERENCE)
    refused = pytest.raises(ModelError, match=r"inference_mode forbids: .*; leave out --grad-mode")
    with prepare(registry.resolve(spec, input_shape=(3,)), cell) as step, refused:
        step()


def test_a_compiled_wrapper_is_counted_as_its_module():
    counters, _ = counted("compiled_factory", "net", batch_size=4, shape=(8,), mode=Mode.TRAIN)
    assert values(counters) == (1_536, 2_048)
    assert counters.dispatches
    assert [layer.name for layer in counters.layers] == ["", "0", "1", "2"]


@pytest.mark.parametrize("container", ["dict", "list"])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_tensors_inside_a_container_are_counted_in_every_precision(container, precision):
    spec = f"net@container={container}"
    counters, advice = counted("dict_inputs_bf16", spec, batch_size=4, mode=Mode.TRAIN, precision=precision)
    assert (values(counters), advice) == ((512, 512), ())
    assert counters.dispatches


def test_a_mapping_is_counted_as_keywords():
    counters, advice = counted("keyword_inputs", "net", batch_size=2, mode=Mode.TRAIN)
    assert (counters.flops.forward, advice) == (768, ())


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_bare_tensor_is_one_input_at_every_batch_size(batch_size):
    counters, advice = counted("tensor_not_tuple", "net", batch_size=batch_size)
    assert (counters.flops.forward, advice) == (batch_size * 10 * 2 * (16 * 32 + 32 * 4), ())


def of_module(build, make_inputs, mode=Mode.INFER):
    workload = Workload(
        build_model=build,
        make_batch=lambda batch, device: (make_inputs(device), None),
        loss=lambda outputs, _: (outputs.to_dense() if outputs.layout is not torch.strided else outputs).sum(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )
    counters, advice = count_workload(workload, mode=mode, batch_size=1, opinions=False)
    assert [one.kind for one in advice if one.kind is AdviceKind.COUNT_FAILED] == []
    return counters.flops


LAYOUTS = {
    "coo": lambda dense: dense.to_sparse(),
    "csr": lambda dense: dense.to_sparse_csr(),
    "csc": lambda dense: dense.to_sparse_csc(),
    "bsr": lambda dense: dense.to_sparse_bsr((2, 2)),
}


class Sparse(nn.Module):
    """Holds 11 entries of 6 x 6; as blocks of 2 x 2, five of them, 20."""

    def __init__(self, layout, product):
        super().__init__()
        self.sparse = LAYOUTS[layout](torch.eye(6) + torch.diag(torch.ones(5), 1))
        self.product = product

    def forward(self, x):
        return self.product(self.sparse, x)


@pytest.mark.parametrize(("layout", "entries"), [("coo", 11), ("csr", 11), ("csc", 11), ("bsr", 20)])
@pytest.mark.parametrize(
    ("product", "shape", "columns"),
    [
        (lambda s, x: s @ x, (6, 4), 4),
        (lambda s, x: torch.sparse.mm(s, x), (6, 4), 4),
        (lambda s, x: torch.addmm(torch.zeros(6, 4), s, x), (6, 4), 4),
        (lambda s, x: s.mv(x), (6,), 1),
        (lambda s, x: nn.functional.linear(s, x.t()), (6, 4), 4),
    ],
    ids=["matmul", "sparse.mm", "addmm", "mv", "linear"],
)
def test_a_sparse_product_costs_its_stored_entries(layout, entries, product, shape, columns):
    flops = of_module(lambda: Sparse(layout, product), lambda device: (torch.randn(shape, device=device),))
    assert flops.forward == 2 * entries * columns


@pytest.mark.parametrize(
    ("layout", "product", "forward"),
    [
        ("coo", lambda s, x: x.t() @ s, 2 * 11 * 4),
        ("csr", lambda s, x: nn.functional.linear(x.t(), s), 2 * 11 * 4),
        ("csr", lambda s, x: torch.sparse.sampled_addmm(s, x, x.t()), 2 * 11 * 4),
        ("csr", lambda s, x: torch.sparse.mm(s, x, "sum"), 2 * 11 * 4),
        # Column k has 1, 2, 2, 2, 2, 2 entries and row k has 2, 2, 2, 2, 2, 1.
        ("coo", lambda s, _: torch.sparse.mm(s, s), 2 * (1 * 2 + 4 * 2 * 2 + 2 * 1)),
        ("coo", lambda s, x: torch.bmm(torch.stack([s, s]), torch.stack([x, x])), 2 * 2 * 11 * 4),
    ],
    ids=["dense @ sparse", "sparse weight", "sampled", "reduced", "sparse @ sparse", "bmm"],
)
def test_other_sparse_products_too(layout, product, forward):
    flops = of_module(lambda: Sparse(layout, product), lambda device: (torch.randn(6, 4, device=device),))
    assert flops.forward == forward


@pytest.mark.parametrize(
    ("build", "positions", "shape"),
    [
        (lambda: nn.Conv2d(4, 6, 3, groups=2, dtype=torch.cfloat), 16, (1, 4, 6, 6)),
        (lambda: nn.ConvTranspose1d(4, 6, 3, groups=2, dtype=torch.cfloat), 5, (1, 4, 5)),
    ],
)
def test_complex_convolutions_are_eight_per_product_forward_and_backward(build, positions, shape):
    weights = sum(parameter.numel() for parameter in build().parameters() if parameter.dim() > 1)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = build()

        def forward(self, x):
            return self.layer(torch.complex(x, x)).abs()

    flops = of_module(Net, lambda device: (torch.randn(shape, device=device),), Mode.TRAIN)
    assert flops.forward == flops.backward == 8 * positions * weights
    assert flops.executed_forward == 6 * positions * weights


def test_a_jagged_batch_is_counted_from_its_real_lengths():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 4)

        def forward(self, a, b):
            return self.layer(torch.nested.nested_tensor([a, b], layout=torch.jagged)).values()

    flops = of_module(Net, lambda device: (torch.randn(3, 8, device=device), torch.randn(5, 8, device=device)))
    assert flops.forward == 2 * (3 + 5) * 8 * 4


@pytest.mark.parametrize("precision", [Precision.BF16_AMP, Precision.FP16_AMP])
def test_an_lstm_is_counted_whole_in_half_precision_on_any_processor(precision):
    cell = Cell(model="lstm", batch_size=2, precision=precision)
    counters, advice = count(registry.resolve("lstm"), cell, opinions=False)
    assert advice == ()
    assert counters.saved_bytes > 0
    assert "real" not in counters.flops.method


class Calls(nn.Module):
    """Calls a function of its layer or weight and its input."""

    def __init__(self, layer, function):
        super().__init__()
        self.layer = layer
        self.function = function

    def forward(self, x):
        y = self.function(self.layer, x)
        return y.abs() if y.is_complex() else y


@pytest.mark.parametrize(
    ("build", "function", "shape", "products", "backward"),
    [
        # Five steps of batch 2; in backward the first step has no gradient of its state to compute.
        (lambda: nn.RNN(4, 6, dtype=torch.cfloat), lambda net, x: net(x)[0], (5, 2, 4), 600, 888),
        (lambda: nn.LSTM(4, 6, dtype=torch.cfloat), lambda net, x: net(x)[0], (5, 2, 4), 4 * 600, 4 * 888),
        (lambda: nn.GRUCell(4, 6, dtype=torch.cfloat), lambda net, x: net(x), (2, 4), 3 * 120, 3 * 120),
        (
            lambda: nn.Parameter(torch.randn(5, 6, dtype=torch.cfloat)),
            lambda w, x: torch.einsum("bij,jk->bik", x, w),
            (3, 4, 5),
            3 * 4 * 5 * 6,
            3 * 4 * 5 * 6,
        ),
    ],
    ids=["rnn", "lstm", "gru cell", "einsum"],
)
def test_complex_recurrent_layers_and_einsum_are_eight_per_product(build, function, shape, products, backward):
    flops = of_module(
        lambda: Calls(build(), function),
        lambda device: (torch.randn(shape, dtype=torch.cfloat, device=device),),
        Mode.TRAIN,
    )
    assert (flops.forward, flops.backward) == (8 * products, 8 * backward)


@pytest.mark.parametrize(("layout", "entries"), [("coo", 11), ("csr", 11), ("csc", 11), ("bsr", 20)])
def test_a_sparse_weight_costs_its_stored_entries(layout, entries):
    def build():
        weight = LAYOUTS[layout](torch.eye(6) + torch.diag(torch.ones(5), 1))
        return Calls(nn.Parameter(weight), lambda w, x: nn.functional.linear(x, w))

    flops = of_module(build, lambda device: (torch.randn(4, 6, device=device),))
    assert flops.forward == 2 * 4 * entries
