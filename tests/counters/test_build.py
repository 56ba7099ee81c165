import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import get_model_weights, list_models

from bench.core.cell import Mode, Precision
from bench.core.workload import Workload
from bench.counters.build import build_on, on_meta
from bench.counters.parameters import count_parameters

# One of each family, and those that a naive `with torch.device("meta")` gets wrong.
CLASSIFIERS = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "swin_t",
    "swin_v2_t",
    "vgg11_bn",
    "vit_b_32",
    "wide_resnet50_2",
]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 8), nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("positions", torch.arange(5))
        self.register_buffer("same_positions", self.positions)
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0]), requires_grad=False)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_torchvision_model_on_meta_has_its_documented_parameters(name):
    weights = next(iter(get_model_weights(name)))
    model = on_meta(lambda: torchvision.models.get_model(name, weights=None))
    assert count_parameters(model).parameters == weights.meta["num_params"]
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))


def test_every_family_of_classifiers_stands_in_the_list():
    families = {torchvision.models.get_model_builder(name).__module__ for name in list_models(torchvision.models)}
    covered = {torchvision.models.get_model_builder(name).__module__ for name in CLASSIFIERS}
    # These two document the count of the model without its auxiliary heads; bench_counting.py has them.
    assert families - covered == {"torchvision.models.googlenet", "torchvision.models.inception"}


def test_tied_weights_and_shared_buffers_stay_tied():
    model = on_meta(Tied)
    assert model.head.weight is model.embedding.weight
    assert model.positions is model.same_positions
    assert model.positions.is_meta
    assert model.positions.dtype == torch.int64
    assert model.scale.is_meta
    assert not model.scale.requires_grad
    assert count_parameters(model).parameters == 88 + 2
    assert count_parameters(model).buffers == 5


def test_moving_to_meta_unties_which_is_why_we_do_not():
    assert count_parameters(Tied().to("meta")).parameters == 2 * 88 + 2


def test_a_constructor_may_read_its_constants():
    class ReadsConstants(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [int(width.item()) for width in torch.linspace(2, 8, 3)]
            self.layers = nn.ModuleList(nn.Linear(width, 1) for width in widths)

    assert [layer.in_features for layer in on_meta(ReadsConstants).layers] == [2, 5, 8]
    with pytest.raises(RuntimeError, match="meta"), torch.device("meta"):
        ReadsConstants()


def test_building_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    on_meta(lambda: nn.Linear(4, 4))
    assert torch.equal(torch.get_rng_state(), state)


def test_lazy_parameters_stay_lazy_until_the_first_forward():
    model = on_meta(lambda: nn.LazyLinear(3))
    assert nn.parameter.is_lazy(model.weight)
    model(torch.empty(2, 5, device="meta"))
    assert model.weight.is_meta
    assert model.weight.shape == (3, 5)


def make_workload(build, size=4):
    return Workload(
        build_model=build,
        make_batch=lambda batch, device: (
            (torch.randn(batch, size, device=device),),
            torch.zeros(batch, device=device),
        ),
        loss=lambda outputs, targets: outputs.sum() + targets.sum(),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


@pytest.mark.parametrize("kind", ["meta", "fake", "cpu"])
def test_a_workload_is_built_on_the_tensors_asked_for(kind):
    workload = make_workload(lambda: nn.Linear(4, 3))
    with build_on(kind, workload, mode=Mode.INFER, batch_size=2, precision=Precision.BF16) as subject:
        assert not subject.model.training
        expected = torch.float32 if kind == "cpu" else torch.bfloat16  # real tensors are always fp32
        assert subject.inputs[0].dtype == subject.model.weight.dtype == expected
        assert subject.model.weight.is_meta == (kind == "meta")
        assert isinstance(subject.model.weight, torch._subclasses.FakeTensor) == (kind == "fake")


def test_a_large_model_is_not_built_for_real_only_to_be_counted():
    workload = make_workload(lambda: nn.Linear(1 << 15, 1 << 15))
    with (
        pytest.raises(MemoryError, match=r"4\.0 GiB"),
        build_on("cpu", workload, mode=Mode.INFER, batch_size=2, precision=Precision.FP32),
    ):
        pass
