import csv
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from bench.counters.build import replace_tensors
from bench.counters.flops import count_module

CASES = list(csv.DictReader((Path(__file__).parent / "flops_cases.csv").read_text().splitlines()))


def build(python):
    return eval(python, {"torch": torch, "nn": nn})  # the case file is ours


def put_on(device, module, x):
    if device == "meta":
        module = replace_tensors(module, "meta")
        x = torch.empty_like(x, device="meta")
    return module, x


def count(module, *inputs, backward=True):
    return count_module(module, inputs, backward=backward)


class Function(nn.Module):
    """A function as a module, so that it can be counted."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def tensors(*shapes, device="cpu"):
    return [torch.randn(*shape, device=device, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
class TestCasesWithClosedForms:
    @pytest.mark.parametrize("is_training", [True, False])
    @pytest.mark.parametrize("gradients", [torch.no_grad, torch.inference_mode, torch.enable_grad])
    def test_forward_is_exact_in_train_and_eval_mode(self, case, device, is_training, gradients):
        module, x = put_on(device, *build(case["python"]))
        with gradients():
            flops = count(module.train(is_training), x, backward=False).flops
        assert flops.forward == flops.executed_forward == int(case["forward_flops"])
        assert flops.backward is None
        assert not flops.uncounted

    @pytest.mark.parametrize("is_training", [True, False])
    def test_backward_is_exact_and_belongs_to_the_layers(self, case, device, is_training):
        module, x = put_on(device, *build(case["python"]))
        step = count(module.train(is_training), x.requires_grad_())
        forward = int(case["forward_flops"])
        assert step.flops.forward == forward
        if case["backward_flops"]:
            assert step.flops.backward == int(case["backward_flops"])
        else:  # a recurrent layer: nobody asks for the gradient of the initial state
            hidden_products_of_one_step = sum(
                2 * 3 * weight.numel() for name, weight in module.named_parameters() if "weight_hh" in name
            )
            assert step.flops.backward == 2 * forward - hidden_products_of_one_step
        assert sum(layer.backward for layer in step.layers.values()) == step.flops.backward
        assert set(step.layers) <= {name for name, _ in module.named_modules()}
        assert not step.flops.uncounted

    def test_gradients_are_left_as_they_were(self, case, device):
        module, x = put_on(device, *build(case["python"]))
        count(module, x.requires_grad_())
        assert x.grad is None
        assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("device", ["cpu", "meta"])
class TestProducts:
    @pytest.mark.parametrize(
        ("function", "shapes", "forward", "backward"),
        [
            (torch.mv, [(5, 7), (7,)], 2 * 35, 2 * 35),  # the matrix's gradient is an outer product: pointwise
            (torch.dot, [(7,), (7,)], 14, 0),  # both gradients are scalings
            (torch.vdot, [(7,), (7,)], 14, 0),
            (torch.addmv, [(5,), (5, 7), (7,)], 2 * 35, 2 * 35),
            (torch.addmm, [(5, 6), (5, 7), (7, 6)], 2 * 210, 4 * 210),
            (torch.baddbmm, [(3, 5, 6), (3, 5, 7), (3, 7, 6)], 2 * 630, 4 * 630),
            (torch.addbmm, [(5, 6), (3, 5, 7), (3, 7, 6)], 2 * 630, 4 * 630),
            (torch.matmul, [(4, 3, 5, 7), (7, 6)], 2 * 4 * 630, 4 * 4 * 630),
            (torch.matmul, [(4, 1, 5, 7), (3, 7, 6)], 2 * 4 * 630, 4 * 4 * 630),  # broadcast in both directions
            (torch.outer, [(5,), (7,)], 0, 2 * 2 * 35),  # pointwise forward; autograd multiplies by matrices backward
            (lambda a, b: torch.einsum("ij,jk->ik", a, b), [(5, 7), (7, 6)], 2 * 210, 4 * 210),
            (lambda a, b: torch.einsum("bij,bkj->bik", a, b), [(3, 5, 7), (3, 6, 7)], 2 * 630, 4 * 630),
            (torch.cdist, [(3, 5, 7), (3, 6, 7)], 2 * 630, 4 * 630),
            (torch.cdist, [(30, 7), (40, 7)], 2 * 1200 * 7, 4 * 1200 * 7),  # large: by a product
            (F.pdist, [(5, 7)], 2 * 10 * 7, 4 * 10 * 7),
        ],
    )
    def test_a_product_counts_two_per_multiply_accumulate(self, device, function, shapes, forward, backward):
        flops = count(Function(function), *tensors(*shapes, device=device)).flops
        if function is torch.outer:
            assert flops.forward == 0
            return
        assert (flops.forward, flops.backward, flops.uncounted) == (forward, backward, ())

    def test_einsum_of_three_operands_is_a_chain_of_pairs(self, device):
        a, b, c = tensors((5, 7), (7, 6), (6, 4), device=device)
        flops = count(Function(lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c)), a, b, c, backward=False).flops
        left_first = 2 * (5 * 7 * 6 + 5 * 6 * 4)
        right_first = 2 * (7 * 6 * 4 + 5 * 7 * 4)
        assert flops.forward in (left_first, right_first)

    def test_bilinear_is_two_products(self, device):
        n, i, j, o = 5, 3, 4, 6
        module = nn.Bilinear(i, j, o).to_empty(device=device)
        x1, x2 = tensors((n, i), (n, j), device=device)
        by_hand = Function(
            lambda a, b, w: (a @ w.reshape(o, i, j).permute(1, 0, 2).reshape(i, o * j)).view(n, o, j) @ b[..., None]
        )
        forward = 2 * n * o * i * j + 2 * n * o * j
        assert count(module, x1, x2).flops.forward == forward
        assert count(by_hand, x1, x2, torch.empty(o * i * j, device=device), backward=False).flops.forward == forward

    def test_bilinear_backward_calls_one_trilinear_per_gradient_asked_for(self, device):
        module = nn.Bilinear(3, 4, 6, bias=False).to_empty(device=device)
        x1, x2 = tensors((5, 3), (5, 4), device=device)
        all_three = count(module, x1, x2).flops.backward
        only_x1 = count(module.requires_grad_(False), x1, x2.detach()).flops.backward
        assert 0 < only_x1 < all_three

    def test_only_gradients_asked_for_are_counted(self, device):
        x = torch.randn(4, 16, device=device)
        assert count(nn.Linear(16, 32, device=device), x).flops.backward == 2 * 4 * 16 * 32
        frozen = nn.Linear(16, 32, device=device).requires_grad_(False)
        assert count(frozen, x.requires_grad_()).flops.backward == 2 * 4 * 16 * 32

    def test_an_unbatched_input_counts_as_a_batch_of_one(self, device):
        for module, shape in (
            (nn.Linear(16, 32), (16,)),
            (nn.Conv2d(3, 8, 3, padding=1), (3, 12, 12)),
            (nn.LSTM(8, 6), (5, 8)),
            (nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, dropout=0.0, batch_first=True), (10, 32)),
        ):
            module = module.to_empty(device=device)
            batch = (5, 1, 8) if isinstance(module, nn.LSTM) else (1, *shape)
            single, batched = (count(module, *tensors(s, device=device)).flops for s in (shape, batch))
            assert (single.forward, single.backward) == (batched.forward, batched.backward)
            assert single.forward > 0

    def test_an_embedding_costs_nothing_and_is_not_uncounted(self, device):
        tokens = torch.zeros(3, 5, dtype=torch.long, device=device)
        flops = count(nn.Embedding(10, 4, device=device), tokens).flops
        assert (flops.forward, flops.backward, flops.uncounted) == (0, 0, ())


@pytest.mark.parametrize("device", ["cpu", "meta"])
class TestAttention:
    B, N, T, S, D = 2, 4, 6, 10, 8

    @pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"mask": True}, {"dropout_p": 0.5}])
    def test_a_mask_saves_nothing_by_convention(self, device, options):
        source = self.T if options.get("is_causal") else self.S
        query, key, value = tensors(
            (self.B, self.N, self.T, self.D),
            (self.B, self.N, source, self.D),
            (self.B, self.N, source, self.D),
            device=device,
        )
        options = dict(options)
        if options.pop("mask", False):
            options["attn_mask"] = torch.ones(self.T, source, dtype=torch.bool, device=device)
        step = count(Function(lambda *qkv: F.scaled_dot_product_attention(*qkv, **options)), query, key, value)
        forward = 4 * self.B * self.N * self.T * source * self.D
        assert (step.flops.forward, step.flops.backward) == (forward, 2 * forward)
        assert not step.flops.uncounted

    @pytest.mark.parametrize("asked", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 0)])
    def test_backward_counts_the_gradients_asked_for(self, device, asked):
        shape = (self.B, self.N, self.T, self.D)
        inputs = [
            tensor.requires_grad_(bool(want))
            for tensor, want in zip(tensors(shape, shape, shape, device=device), asked, strict=True)
        ]
        one = 2 * self.B * self.N * self.T * self.T * self.D
        step = count(Function(F.scaled_dot_product_attention), *inputs)
        products = asked[0] + asked[1] + asked[2] + (asked[0] or asked[1])
        assert step.flops.backward == products * one

    def test_grouped_queries_share_keys_but_not_work(self, device):
        query, key, value = tensors((2, 8, 6, 4), (2, 2, 6, 4), (2, 2, 6, 4), device=device)
        grouped = count(Function(lambda *qkv: F.scaled_dot_product_attention(*qkv, enable_gqa=True)), query, key, value)
        forward = 4 * 2 * 8 * 6 * 6 * 4
        assert (grouped.flops.forward, grouped.flops.backward) == (forward, 2 * forward)

    @pytest.mark.parametrize("need_weights", [True, False])
    @pytest.mark.parametrize("is_training", [True, False])
    def test_multi_head_attention_counts_alike_on_every_path(self, device, need_weights, is_training):
        module = nn.MultiheadAttention(32, 4, batch_first=True).to_empty(device=device).train(is_training)
        batch, length, width = 2, 10, 32
        forward = 2 * batch * length * 4 * width * width + 4 * batch * length * length * width
        x = torch.randn(batch, length, width, device=device)
        for gradients in (torch.enable_grad, torch.inference_mode):
            with gradients():
                step = count(Function(lambda x: module(x, x, x, need_weights=need_weights)[0]), x, backward=False)
            assert (step.flops.forward, step.flops.uncounted) == (forward, ())
        leaf = x.clone().requires_grad_()
        backward = count(Function(lambda x: module(x, x, x, need_weights=need_weights)[0]), leaf).flops.backward
        assert backward == 2 * forward

    def test_cross_attention_projects_queries_and_sources_apart(self, device):
        module = nn.MultiheadAttention(32, 4, batch_first=True).to_empty(device=device).eval()
        query, source = torch.randn(2, 6, 32, device=device), torch.randn(2, 10, 32, device=device)
        forward = 2 * 32 * 32 * 2 * (2 * 6 + 2 * 10) + 4 * 2 * 6 * 10 * 32
        with torch.inference_mode():
            step = count(Function(lambda q, s: module(q, s, s)[0]), query, source, backward=False)
        assert step.flops.forward == forward

    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
    def test_padding_left_out_of_a_nested_tensor_is_not_counted(self, device):
        if device == "meta":
            pytest.skip("lengths are data, and meta tensors have none")
        layer = nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, batch_first=True, dropout=0.0)
        encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).eval()
        padding = torch.zeros(2, 10, dtype=torch.bool)
        padding[1, 6:] = True
        with torch.inference_mode():
            step = count(
                Function(lambda x: encoder(x, src_key_padding_mask=padding)), torch.randn(2, 10, 32), backward=False
            )
        tokens, pairs = 10 + 6, 10 * 10 + 6 * 6
        per_layer = 2 * tokens * (4 * 32 * 32 + 2 * 32 * 64) + 4 * pairs * 32
        assert (step.flops.forward, step.flops.uncounted) == (2 * per_layer, ())


@pytest.mark.parametrize("device", ["cpu", "meta"])
class TestRecurrent:
    @pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
    def test_an_lstm_with_projection(self, device):
        time, batch, width, hidden, projection = 5, 3, 8, 16, 4
        module = nn.LSTM(width, hidden, proj_size=projection).to_empty(device=device)
        tokens = time * batch
        forward = 2 * tokens * (4 * hidden * (width + projection) + hidden * projection)
        flops = count(module, *tensors((time, batch, width), device=device)).flops
        assert flops.forward == forward
        assert flops.backward == 2 * forward - 2 * batch * 4 * hidden * projection

    @pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
    def test_an_initial_state_that_needs_a_gradient_is_counted_whole(self, device, kind):
        module = kind(8, 6).to_empty(device=device)
        x, h = tensors((5, 3, 8), (1, 3, 6), device=device)
        state = (h, torch.zeros(1, 3, 6, device=device)) if kind is nn.LSTM else h
        flops = count(module, x, state).flops
        assert flops.backward == 2 * flops.forward

    def test_a_first_layer_without_input_gradient_saves_products(self, device):
        module = nn.LSTM(8, 6, num_layers=2).to_empty(device=device)
        with_input, without = (
            count(module, torch.randn(5, 3, 8, device=device).requires_grad_(r)).flops for r in (True, False)
        )
        assert with_input.backward - without.backward == 2 * 5 * 3 * 4 * 6 * 8

    def test_cells_count_like_one_step_of_their_layers(self, device):
        for cell, layer in ((nn.LSTMCell, nn.LSTM), (nn.GRUCell, nn.GRU), (nn.RNNCell, nn.RNN)):
            one_step = count(layer(8, 6).to_empty(device=device), *tensors((1, 3, 8), device=device), backward=False)
            one_cell = count(cell(8, 6).to_empty(device=device), *tensors((3, 8), device=device), backward=False)
            assert one_cell.flops.forward == one_step.flops.forward > 0


class Twice(nn.Module):
    """One shared block, called twice, the second time nested in a branch."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.block(x) + self.block(x * 2))


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant):
        super().__init__()
        self.first, self.block, self.head = nn.Linear(8, 8), Twice().block, nn.Linear(8, 3)
        self.use_reentrant = use_reentrant

    def forward(self, x):
        x = self.first(x)
        return self.head(checkpoint(self.block, x, use_reentrant=self.use_reentrant))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.inner, self.head = nn.Embedding(11, 8), nn.Linear(8, 8), nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.inner(self.embedding(tokens)))


@pytest.mark.parametrize("device", ["cpu", "meta"])
class TestStructure:
    def test_a_module_called_twice_counts_twice_under_one_name(self, device):
        step = count(Twice().to_empty(device=device), *tensors((5, 8), device=device))
        one_call = 2 * 5 * 8 * 8
        assert step.layers["block.0"].forward == step.layers["block.2"].forward == 2 * one_call
        assert step.layers["block.0"].backward == step.layers["block.2"].backward == 4 * one_call
        assert step.layers["head"].backward == 2 * step.layers["head"].forward == 4 * 5 * 8 * 3

    @pytest.mark.parametrize("use_reentrant", [True, False])
    def test_checkpointing_executes_more_and_needs_the_same(self, device, use_reentrant):
        model = Checkpointed(use_reentrant).to_empty(device=device)
        step = count(model, *tensors((5, 8), device=device))
        linear = 2 * 5 * 8 * 8
        forward = 3 * linear + 2 * 5 * 8 * 3
        assert (step.flops.forward, step.flops.backward) == (forward, 2 * forward)
        assert step.flops.executed_forward == forward
        # The block's forward again; without re-entrance it stops once it has what it needs: before the last layer.
        assert step.flops.executed_backward == 2 * forward + (2 if use_reentrant else 1) * linear
        assert step.layers["block.0"].backward == 2 * linear
        assert step.layers["block.0"].executed_backward == 3 * linear
        assert sum(row.executed_backward for row in step.layers.values()) == step.flops.executed_backward

    def test_a_checkpointed_part_without_gradients_is_recomputation_too(self, device):
        frozen, head = nn.Linear(8, 8).to_empty(device=device), nn.Linear(8, 8).to_empty(device=device)

        class Part(nn.Module):
            def __init__(self):
                super().__init__()
                self.frozen, self.head = frozen, head

            def forward(self, x):
                with torch.no_grad():
                    x = self.frozen(x)
                return self.head(x)

        part = Part()
        step = count(Function(lambda x: checkpoint(part, x, use_reentrant=False)), *tensors((5, 8), device=device))
        linear = 2 * 5 * 8 * 8
        assert step.flops.backward == linear  # the head's weight; nothing asks for more
        assert step.flops.executed_backward == 2 * linear  # and the frozen layer, whose output the head needs

    def test_tied_weights_are_used_where_they_are_called(self, device):
        tokens = torch.zeros(3, 5, dtype=torch.long, device=device)
        step = count(replace_tensors(Tied(), device), tokens)
        assert step.layers["head"].forward == 2 * 15 * 8 * 11
        assert step.flops.backward == 2 * step.flops.forward

    def test_inner_gradients_of_a_penalty_belong_to_the_forward_pass(self, device):
        linear = nn.Linear(8, 8, device=device)

        class Penalty(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = linear

            def forward(self, x):
                (gradient,) = torch.autograd.grad(self.linear(x).square().sum(), x, create_graph=True)
                return gradient.square().sum()

        step = count(Penalty(), *tensors((5, 8), device=device))
        one = 2 * 5 * 8 * 8
        assert step.flops.forward == step.flops.executed_forward == 2 * one
        assert step.flops.executed_backward == step.flops.backward

    def test_a_custom_function_is_counted_in_its_layer(self, device):
        class Multiply(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, w):
                ctx.save_for_backward(x, w)
                return x @ w

            @staticmethod
            def backward(ctx, grad):
                x, w = ctx.saved_tensors
                return grad @ w.T, x.T @ grad

        class Layer(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.empty(8, 6, device=device))

            def forward(self, x):
                return Multiply.apply(x, self.weight)

        step = count(nn.Sequential(nn.Linear(8, 8, device=device), Layer()), *tensors((5, 8), device=device))
        assert (step.layers["1"].forward, step.layers["1"].backward) == (2 * 5 * 8 * 6, 4 * 5 * 8 * 6)

    def test_what_the_loss_multiplies_has_a_row_of_its_own(self, device):
        module = nn.Linear(8, 8, device=device)
        x = torch.randn(5, 8, device=device)
        step = count_module(module, (x,), backward=True, loss=lambda y: (y @ y.T).sum())
        assert step.layers["(loss)"].forward == 2 * 5 * 8 * 5
        assert step.layers["(loss)"].backward == 4 * 5 * 8 * 5
        assert sum(row.backward for row in step.layers.values()) == step.flops.backward

    def test_a_graph_made_before_counting_is_not_attributed(self, device):
        weight = torch.randn(8, 8, device=device, requires_grad=True)
        x = torch.randn(5, 8, device=device) @ weight
        step = count(nn.Linear(8, 3, device=device), x)
        assert step.layers["(unattributed)"].backward == 2 * 5 * 8 * 8
        assert step.flops.backward == 2 * 5 * 8 * 8 + 4 * 5 * 8 * 3


def test_autocast_changes_no_count():
    model, x = Twice(), torch.randn(5, 8)
    plain = count_module(model, (x,), backward=True).flops
    cast = count_module(model, (x,), backward=True, autocast=torch.autocast("cpu", dtype=torch.bfloat16)).flops
    assert (plain.forward, plain.backward) == (cast.forward, cast.backward)


def test_a_backward_without_gradients_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="no output requires a gradient"):
        count(nn.Linear(4, 4).requires_grad_(False), torch.randn(2, 4))


def test_hooks_and_threads_are_restored_after_an_error():
    hooks = torch.nn.modules.module._global_forward_hooks
    before = len(hooks)

    def fail(x):
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        count(Function(fail), torch.randn(2))
    assert len(hooks) == before
    assert torch.autograd.is_multithreading_enabled()
