# ruff: noqa: ARG005
import dataclasses

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

from bench import registry
from bench.core.advice import AdviceKind
from bench.core.cell import Mode, Precision
from bench.core.jsonio import from_json, to_json
from bench.core.record import Counters
from bench.core.workload import Workload
from bench.counters import opinions
from bench.counters.flops import count_workload
from bench.counters.formulas import table


def make_workload(build, make_batch=None, loss=None, closed_form=None):
    return Workload(
        build_model=build,
        make_batch=make_batch
        or (lambda batch, device: ((torch.randn(batch, 8, device=device),), torch.zeros(batch, 3, device=device))),
        loss=loss or (lambda outputs, targets: (outputs - targets).square().mean()),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        closed_form_flops=closed_form,
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 3, bias=False)

    def forward(self, x):
        return self.head(self.norm(self.body(x)))


def kinds(advice):
    return [one.kind for one in advice]


def opinion(counters, name):
    return next(one for one in counters.opinions if one.counter == name)


def images(size=32):
    return lambda batch, device: (
        (torch.randn(batch, 3, size, size, device=device),),
        torch.zeros(batch, dtype=torch.long, device=device),
    )


FORWARD = 2 * 4 * (8 * 8 + 8 * 3)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_training_step_is_counted_whole(device):
    counters, advice = count_workload(
        make_workload(Net, closed_form=lambda batch: 2 * batch * (64 + 24)),
        mode=Mode.TRAIN,
        batch_size=4,
        device=device,
    )
    assert counters.parameters == counters.trainable_parameters == 72 + 16 + 24
    assert counters.buffers == 8 + 8 + 1
    assert counters.flops.forward == counters.flops.executed_forward == FORWARD
    assert counters.flops.backward == 2 * FORWARD - 2 * 4 * 8 * 8  # no gradient of the batch
    assert device in counters.flops.method
    assert advice == ()
    assert {one.counter: one.forward_flops for one in counters.opinions} == {
        "torch": FORWARD,
        "fvcore": FORWARD,
        "closed-form": FORWARD,
    }
    assert [one.note for one in counters.opinions] == [None] * 3
    assert from_json(Counters, to_json(counters)) == counters


def test_an_inference_has_no_backward_and_the_same_forward():
    counters, _ = count_workload(make_workload(Net), mode=Mode.INFER, batch_size=4, opinions=False)
    assert counters.flops.forward == FORWARD
    assert counters.flops.backward is None
    assert counters.opinions == ()
    assert all(layer.flops_backward is None for layer in counters.layers)


def test_layers_sum_to_the_totals_and_know_their_shapes():
    counters, _ = count_workload(make_workload(Net), mode=Mode.TRAIN, batch_size=4, opinions=False)
    rows = {layer.name: layer for layer in counters.layers}
    assert list(rows) == ["", "body", "body.0", "body.1", "body.2", "norm", "head"]
    assert sum(row.parameters for row in rows.values()) == counters.parameters
    assert sum(row.buffers for row in rows.values()) == counters.buffers
    assert sum(row.flops_forward for row in rows.values()) == counters.flops.forward
    assert sum(row.flops_backward for row in rows.values()) == counters.flops.backward
    assert rows["head"].output_shape == (4, 3)
    assert rows["head"].activation_bytes == 4 * 3 * 4
    assert rows["head"].flops_backward == 2 * rows["head"].flops_forward
    assert rows["body.0"].type == "Linear"
    assert rows["body.0"].flops_backward == rows["body.0"].flops_forward
    assert rows["body.1"].bytes_touched == 2 * 4 * 8 * 4  # read and written in place


def test_half_precision_halves_activations_and_changes_no_flops():
    rows, flops = {}, {}
    for precision in (Precision.FP32, Precision.BF16, Precision.BF16_AMP, Precision.FP16_AMP):
        counters, _ = count_workload(
            make_workload(Net), mode=Mode.TRAIN, batch_size=4, precision=precision, opinions=False
        )
        rows[precision] = {layer.name: layer.activation_bytes for layer in counters.layers}
        flops[precision] = (counters.flops.forward, counters.flops.backward)
    assert len(set(flops.values())) == 1
    assert rows[Precision.FP32]["head"] == 2 * rows[Precision.BF16]["head"] == 2 * rows[Precision.BF16_AMP]["head"]
    assert rows[Precision.FP16_AMP]["head"] == rows[Precision.BF16_AMP]["head"]


def test_counting_twice_gives_the_same_and_leaves_the_random_state():
    state = torch.get_rng_state()
    for device in ("meta", "cpu"):
        first, second = (
            count_workload(make_workload(Net), mode=Mode.TRAIN, batch_size=4, device=device) for _ in range(2)
        )
        assert first == second
    assert torch.equal(torch.get_rng_state(), state)


class ReadsData(Net):
    def forward(self, x):
        return super().forward(x) if x.sum().item() > -1e9 else x[:, :3]


class ReadsConstantOnCpu(Net):
    """Mixes in a constant that lies on the CPU whatever the device: meta refuses, fake CPU tensors do not."""

    def forward(self, x):
        return super().forward(x * torch.ones(8))


def test_a_model_that_reads_its_data_is_counted_on_real_tensors():
    counters, _ = count_workload(make_workload(ReadsData), mode=Mode.TRAIN, batch_size=4, opinions=False)
    assert counters.flops.forward == FORWARD
    assert "on real cpu (fp32) tensors; not on meta" in counters.flops.method
    assert "not on fake" in counters.flops.method


def test_a_model_that_meta_refuses_is_counted_on_fake_tensors():
    counters, _ = count_workload(make_workload(ReadsConstantOnCpu), mode=Mode.TRAIN, batch_size=4, opinions=False)
    assert counters.flops.forward == FORWARD
    assert "on fake tensors; not on meta" in counters.flops.method


def test_a_model_that_raises_keeps_its_parameters_and_the_reason():
    class Broken(Net):
        def forward(self, x):
            raise TypeError("of that I know nothing\nsecond line")

    counters, advice = count_workload(make_workload(Broken), mode=Mode.TRAIN, batch_size=4)
    assert counters.parameters == 112
    assert counters.flops is None
    assert kinds(advice) == [AdviceKind.COUNT_FAILED]
    assert "TypeError: of that I know nothing" in dict(advice[0].facts)["reason"]
    assert "second line" in str(advice)  # the error that mattered, whole
    assert "meta" not in str(advice)


def test_a_model_that_cannot_be_built_has_no_counts_but_a_reason():
    def build():
        raise RuntimeError("no such thing")

    counters, advice = count_workload(make_workload(build), mode=Mode.TRAIN, batch_size=4)
    assert counters == Counters()
    assert kinds(advice) == [AdviceKind.COUNT_FAILED]


def test_lazy_modules_are_counted_after_their_first_forward():
    counters, _ = count_workload(
        make_workload(lambda: nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(3, bias=False))),
        mode=Mode.INFER,
        batch_size=4,
        opinions=False,
    )
    assert counters.parameters == 72 + 24
    assert counters.flops.forward == FORWARD


class Hidden(nn.Module):
    """All its products are inside an operation that nobody can see into."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(8, 3))

    def forward(self, x):
        return torch.ops.stepbench_tests_hidden.product(x, self.weight)


@pytest.fixture
def hidden():
    library = torch.library.Library("stepbench_tests_hidden", "DEF")
    library.define("product(Tensor a, Tensor b) -> Tensor")
    library.impl("product", lambda a, b: a @ b, "CompositeExplicitAutograd")
    yield
    library._destroy()


def test_zero_flops_of_a_model_with_products_is_unmeasured(hidden):
    counters, advice = count_workload(make_workload(Hidden), mode=Mode.INFER, batch_size=4, opinions=False)
    assert counters.flops.forward is None
    assert counters.flops.executed_forward is None
    assert counters.flops.uncounted == (("stepbench_tests_hidden.product", 1),)
    assert kinds(advice) == [AdviceKind.FLOPS_UNMEASURED]
    assert "stepbench_tests_hidden.product x1" in str(advice)


def test_some_uncounted_operations_make_a_lower_bound(hidden):
    build = lambda: nn.Sequential(nn.Linear(8, 8), Hidden())  # noqa: E731
    counters, advice = count_workload(make_workload(build), mode=Mode.INFER, batch_size=4, opinions=False)
    assert counters.flops.forward == 2 * 4 * 64
    assert counters.flops.is_lower_bound
    assert kinds(advice) == [AdviceKind.FLOPS_LOWER_BOUND]


def test_a_matrix_that_is_never_multiplied_is_not_zero_but_unmeasured():
    class Scales(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1, 8))

        def forward(self, x):
            return (x * self.scale)[:, :3]

    counters, advice = count_workload(make_workload(Scales), mode=Mode.INFER, batch_size=4, opinions=False)
    assert counters.flops.forward is None
    assert kinds(advice) == [AdviceKind.FLOPS_UNMEASURED]


def test_a_model_without_products_really_costs_zero():
    def build():
        return nn.Sequential(nn.Unflatten(1, (8, 1)), nn.AvgPool1d(1), nn.Flatten(), nn.LayerNorm(8))

    counters, advice = count_workload(make_workload(build), mode=Mode.INFER, batch_size=4, opinions=False)
    assert counters.flops.forward == 0
    assert advice == ()


def test_a_wrong_closed_form_is_a_disagreement_with_both_figures():
    counters, advice = count_workload(make_workload(Net, closed_form=lambda batch: 1000), mode=Mode.INFER, batch_size=4)
    assert kinds(advice) == [AdviceKind.FLOPS_DISAGREE]
    assert dict(advice[0].facts) == {"forward_flops": FORWARD, "closed-form_forward_flops": 1000}
    assert f"{FORWARD:,}" in opinion(counters, "closed-form").note


def test_torch_is_quoted_with_the_operations_on_which_it_differs():
    build = lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.Flatten(), nn.LazyLinear(3))  # noqa: E731
    make_batch = lambda batch, device: (  # noqa: E731
        (torch.randn(batch, 4, 6, 6, device=device),),
        torch.zeros(batch, 3, device=device),
    )
    counters, advice = count_workload(make_workload(build, make_batch), mode=Mode.TRAIN, batch_size=4)
    theirs = opinion(counters, "torch")
    assert theirs.forward_flops == counters.flops.forward
    assert theirs.backward_flops > counters.flops.backward
    assert "backward aten.convolution_backward" in theirs.note
    assert "forgets the groups" in theirs.note
    assert advice == ()  # the cause is known


def test_no_cause_is_invented_where_torch_and_we_disagree(monkeypatch):
    monkeypatch.setitem(table._own, torch.ops.aten.addmm, table._Plain(lambda *_, **__: 7, False))
    counters, advice = count_workload(make_workload(Net), mode=Mode.INFER, batch_size=4)
    assert AdviceKind.FLOPS_DISAGREE in kinds(advice)
    assert opinion(counters, "torch").note == f"forward aten.addmm {2 * 4 * 64} against 7"


def test_torch_counts_recomputation_as_the_models_and_we_say_so():
    class Again(Net):
        def forward(self, x):
            return self.head(checkpoint(self.body, x, use_reentrant=False)) + 0 * self.norm.weight.sum()

    make_batch = lambda batch, device: (  # noqa: E731
        (torch.randn(batch, 8, device=device, requires_grad=True),),
        torch.zeros(batch, 3, device=device),
    )
    counters, _ = count_workload(make_workload(Again, make_batch), mode=Mode.TRAIN, batch_size=4)
    assert counters.flops.executed_backward > counters.flops.backward == 2 * FORWARD
    assert opinion(counters, "torch").backward_flops == counters.flops.executed_backward
    assert "computed again" in opinion(counters, "torch").note


class Attends(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(8, 8)

    def forward(self, x):
        x = self.query(x)[:, None, :, None]
        return torch.nn.functional.scaled_dot_product_attention(x, x, x)[:, 0, :3, 0]


class Recurs(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = kind(8, 3, batch_first=True)

    def forward(self, x):
        return self.layer(x[:, None])[0][:, 0]


@pytest.mark.parametrize(
    ("build", "operation"),
    [
        (Attends, "scaled_dot_product_attention x1"),
        (lambda: Recurs(nn.LSTM), "lstm x1"),
        (lambda: Recurs(nn.GRU), "gru x1"),
        (lambda: Recurs(nn.RNN), "rnn_tanh x1"),
    ],
)
def test_fvcore_is_quoted_with_what_it_passes_over(build, operation):
    counters, advice = count_workload(make_workload(build), mode=Mode.TRAIN, batch_size=4)
    theirs = opinion(counters, "fvcore")
    assert theirs.forward_flops < counters.flops.forward
    assert f"passes over {operation}" in theirs.note
    assert advice == ()


def test_fvcore_is_quoted_when_it_counts_a_broadcast_product_once():
    class Broadcasts(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(4, 8, 3))

        def forward(self, x):
            return (x @ self.weight).mean(0)

    counters, advice = count_workload(make_workload(Broadcasts), mode=Mode.INFER, batch_size=4)
    theirs = opinion(counters, "fvcore")
    assert counters.flops.forward == 4 * theirs.forward_flops == 4 * 2 * 4 * 8 * 3
    assert f"broadcasts its first operand, {3 * theirs.forward_flops:,}" in theirs.note
    assert advice == ()


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (2, 4, 9)),
        (lambda: nn.Conv2d(4, 6, (3, 1), stride=(2, 3), padding=(1, 0)), (2, 4, 9, 8)),
        (lambda: nn.Conv3d(4, 6, 3, padding="same"), (2, 4, 5, 6, 7)),
        (lambda: nn.ConvTranspose2d(4, 6, 3, (2, 3), (1, 0), (1, 2), 2, dilation=(1, 2)), (2, 4, 5, 6)),
    ],
    ids=["dilated", "uneven", "same", "transposed"],
)
def test_a_convolution_for_fvcore_has_its_shape_and_no_values(build, shape):
    layer, inputs = build(), torch.randn(shape)
    with torch.no_grad():
        expected = layer(inputs)
        with opinions._convolutions_of_zeros():
            found = layer(inputs)
        assert (found.shape, found.stride(), found.any()) == (expected.shape, expected.stride(), False)
        assert torch.equal(layer(inputs), expected)


def test_fvcore_is_not_asked_to_run_a_model_of_many_flops(monkeypatch):
    monkeypatch.setattr("bench.counters.opinions._FVCORE_LIMIT", 1)
    counters, advice = count_workload(make_workload(Net), mode=Mode.INFER, batch_size=4)
    assert opinion(counters, "fvcore").forward_flops is None
    assert "not asked" in opinion(counters, "fvcore").note
    assert advice == ()


def test_a_counter_that_fails_is_an_opinion_not_given(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("broken counter")

    monkeypatch.setattr("bench.counters.opinions.FlopCounterMode", fail)
    options = {"mode": Mode.INFER, "batch_size": 4, "precision": Precision.BF16_AMP}
    counters, advice = count_workload(make_workload(Net), **options)
    assert opinion(counters, "torch").forward_flops is None
    assert "broken counter" in opinion(counters, "torch").note
    assert advice == ()


CLASSIFIERS = {
    "resnet18": 64,
    "mobilenet_v2": 64,
    "shufflenet_v2_x0_5": 64,
    "densenet121": 64,
    "swin_t": 64,
    "vit_b_32": 224,
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_torchvision_counts_alike_in_both_modes_and_backward_is_measured(name):
    workload = make_workload(
        lambda: torchvision.models.get_model(name),
        images(CLASSIFIERS[name]),
        lambda outputs, targets: nn.functional.cross_entropy(outputs, targets),
    )
    train, _ = count_workload(workload, mode=Mode.TRAIN, batch_size=2, opinions=False)
    infer, _ = count_workload(workload, mode=Mode.INFER, batch_size=2, opinions=False)
    assert train.flops.forward == infer.flops.forward
    # Every layer is twice its forward, except the first, which needs no gradient of the images.
    first, *rest = [layer for layer in train.layers if layer.flops_forward]
    assert first.flops_backward == first.flops_forward
    assert all(layer.flops_backward == 2 * layer.flops_forward for layer in rest)
    assert 1.8 < train.flops.backward / train.flops.forward < 2.0
    assert sum(layer.flops_backward for layer in train.layers) == train.flops.backward
    assert {layer.name for layer in train.layers if layer.name.startswith("(")} == set()
    assert train.flops.uncounted == infer.flops.uncounted == ()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5"])
def test_meta_and_fake_and_real_tensors_give_the_same_table(name):
    workload = make_workload(
        lambda: torchvision.models.get_model(name), images(), lambda outputs, _: outputs.square().mean()
    )
    tables = {}
    for device in ("meta", "fake", "cpu"):
        counters, advice = count_workload(workload, mode=Mode.TRAIN, batch_size=2, device=device, opinions=False)
        assert advice == ()
        tables[device] = dataclasses.replace(counters, flops=dataclasses.replace(counters.flops, method=""))
    assert tables["meta"] == tables["fake"] == tables["cpu"]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("name", ["walkthrough_cnn", "gru", "transformer", "decoder_lm"])
def test_torchs_formulas_say_on_the_way_what_its_counter_says(name, mode, monkeypatch):
    asked: list[bool] = []

    def opinions_of(is_noted: bool) -> object:
        def ask(subject, workload, ours):
            asked.append(ours.torchs is None)
            return opinions.ask_torch(subject, workload, ours if is_noted else dataclasses.replace(ours, torchs=None))

        monkeypatch.setattr("bench.counters.flops.ask_torch", ask)
        counters, _ = count_workload(registry.resolve(name), mode=mode, batch_size=2)
        return opinion(counters, "torch")

    assert opinions_of(is_noted=True) == opinions_of(is_noted=False)
    assert asked == [False, False]


def test_a_complex_convolution_has_no_cause_of_groups():
    workload = Workload(
        build_model=lambda: nn.Conv1d(3, 4, 3, dtype=torch.complex64),
        make_batch=lambda size, device: (torch.randn(size, 3, 8, dtype=torch.complex64, device=device), None),
        loss=lambda outputs, _: outputs.abs().sum(),
    )
    counters, _ = count_workload(workload, mode=Mode.TRAIN, batch_size=2)
    assert "sparse and complex" in opinion(counters, "torch").note
    assert "groups" not in opinion(counters, "torch").note
