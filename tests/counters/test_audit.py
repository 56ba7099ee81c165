# ruff: noqa: ARG005 - formulas and modules have their operations' signatures
import pytest
import torch
from torch import nn

from bench.counters.audit import find_class
from bench.counters.flops import count_module
from bench.counters.formulas import table
from bench.counters.formulas.table import find_formula, register_formula

aten = torch.ops.aten


@pytest.fixture(scope="module")
def opaque():
    """A product that no counter can see into, as a user would write it."""

    @torch.library.custom_op("stepbench_tests::opaque_matmul", mutates_args=())
    def opaque_matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ b

    @opaque_matmul.register_fake
    def _(a, b):
        return a.new_empty(a.shape[0], b.shape[1])

    return opaque_matmul


class Uses(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.linear = function, nn.Linear(6, 6)

    def forward(self, x):
        return self.function(self.linear(x), self.linear.weight)


def run(function, device="cpu"):
    with torch.no_grad():
        return count_module(Uses(function).to_empty(device=device), (torch.randn(4, 6, device=device),))


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (aten.view.default, "view"),
        (aten.t.default, "view"),
        (aten.detach.default, "view"),
        (aten.add.Tensor, "pointwise"),
        (aten.relu_.default, "pointwise"),
        (aten.threshold_backward.default, "pointwise"),
        (aten.sum.dim_IntList, "reduction"),
        (aten.native_batch_norm_backward.default, "normalisation"),
        (aten._log_softmax.default, "normalisation"),
        (aten.max_pool2d_with_indices.default, "pooling"),
        (aten.embedding_dense_backward.default, "indexing"),
        (aten.cat.default, "data movement"),
        (aten._to_copy.default, "data movement"),
        (aten.bernoulli_.float, "random"),
        (aten._foreach_addcdiv_.Scalar, "optimizer"),
        (aten.nll_loss_forward.default, "loss"),
    ],
)
def test_what_costs_nothing_by_convention_is_named(operation, kind):
    assert find_class(operation) in (kind, "reduction" if kind == "normalisation" else kind)


@pytest.mark.parametrize(
    "operation",
    [aten._fft_r2c.default, aten._fft_c2c.default, aten._linalg_svd.default, aten.linalg_inv_ex.default,
     aten._linalg_solve_ex.default, aten.linalg_cholesky_ex.default, aten._sparse_semi_structured_mm.default],
)  # fmt: skip
def test_transforms_and_solvers_are_neither_free_nor_counted(operation):
    assert find_class(operation) is None
    assert find_formula(operation) is None


def test_nothing_is_free_and_counted_at_once():
    names = {name.partition(".")[0] for name in torch._C._dispatch_get_all_op_names() if name.startswith("aten::")}
    packets = [packet for name in sorted(names) if (packet := getattr(aten, name[6:], None)) is not None]
    counted = [packet for packet in packets if find_formula(packet) is not None]
    assert len(counted) > 60
    both = [
        str(overload)
        for packet in counted
        for name in packet.overloads()
        if find_class(overload := getattr(packet, name)) is not None
    ]
    assert both == []


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_custom_operation_is_named_and_the_count_is_a_lower_bound(opaque, device):
    flops = run(opaque, device).flops
    assert flops.uncounted == (("stepbench_tests.opaque_matmul", 1),)
    assert flops.is_lower_bound
    assert flops.forward == 2 * 4 * 6 * 6  # the linear layer alone


def test_a_formula_takes_two_lines(opaque, monkeypatch):
    monkeypatch.setattr("bench.counters.formulas.table._own", dict(table._own))

    @register_formula(opaque)
    def opaque_flops(a, b): return 2 * a.numel() * b.shape[-1]  # fmt: skip

    flops = run(opaque).flops
    assert flops.uncounted == ()
    assert flops.forward == 2 * (2 * 4 * 6 * 6)


def test_a_formula_is_named_by_operation_or_overload(opaque, monkeypatch):
    for operation in (torch.ops.stepbench_tests.opaque_matmul, torch.ops.stepbench_tests.opaque_matmul.default):
        monkeypatch.setattr(table, "_own", dict(table._own))
        register_formula(operation, lambda a, b, output: 2 * a.shape[1] * output.numel(), with_output=True)
        assert run(opaque).flops.uncounted == ()


def test_a_formula_registered_with_torch_works_here_too(opaque, monkeypatch):
    from torch.utils import flop_counter

    registry = dict(flop_counter.flop_registry)
    monkeypatch.setattr("bench.counters.formulas.table.flop_registry", registry)
    registry[torch.ops.stepbench_tests.opaque_matmul] = lambda a, b, out_val=None: 7
    assert run(opaque).flops.forward == 2 * 4 * 6 * 6 + 7


def test_a_fourier_transform_is_named():
    flops = run(lambda x, w: torch.fft.fft(x)).flops
    assert flops.uncounted == (("aten._fft_r2c", 1),)


def test_a_composite_library_operation_is_taken_apart_in_inference_mode():
    library = torch.library.Library("stepbench_tests_composite", "DEF")
    library.define("twice(Tensor a, Tensor b) -> Tensor")
    library.impl("twice", lambda a, b: (a @ b) @ b, "CompositeImplicitAutograd")
    with torch.inference_mode():
        step = count_module(Uses(torch.ops.stepbench_tests_composite.twice), (torch.randn(4, 6),))
    assert step.flops.forward == 3 * 2 * 4 * 6 * 6
    assert step.flops.uncounted == ()
    library._destroy()


def test_a_triton_kernel_is_named_and_can_be_given_a_formula(monkeypatch):
    triton = pytest.importorskip("triton")
    import triton.language as tl

    @triton.jit
    def product_kernel(x, out, n: tl.constexpr):
        tl.store(out + tl.arange(0, n), tl.load(x + tl.arange(0, n)))

    def launch(x, w):
        out = torch.empty_like(x)
        torch.library.wrap_triton(product_kernel)[(1,)](x, out, n=16)
        return out

    @torch.library.triton_op("stepbench_tests::triton_product", mutates_args={})
    def triton_product(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return launch(x, w)

    monkeypatch.setattr(table, "_own", dict(table._own))
    flops = run(triton_product, "meta").flops
    assert [name for name, _ in flops.uncounted] in (["product_kernel"], ["stepbench_tests.triton_product"])
    register_formula(product_kernel, lambda **_: 5)
    register_formula(triton_product, lambda *_: 5)
    flops = run(triton_product, "meta").flops
    assert flops.uncounted == ()
    assert flops.forward == 2 * 4 * 6 * 6 + 5
