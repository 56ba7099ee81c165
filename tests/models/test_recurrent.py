"""The recurrent layers against their equations, and their claimed ratios."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from bench.models import gru, lstm, rnn
from torch import Tensor, nn

FILES = {"rnn": rnn, "lstm": lstm, "gru": gru}


def run_by_hand(name: str, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Run one layer by the textbook equations (torch's order of gates); x is `(B, S, E)`."""
    w, u = weights["weight_ih_l0"], weights["weight_hh_l0"]
    b, c = weights["bias_ih_l0"], weights["bias_hh_l0"]
    hidden = torch.zeros(x.shape[0], u.shape[1], dtype=x.dtype)
    cell = torch.zeros_like(hidden)
    outputs = []
    for step in range(x.shape[1]):
        from_input, from_hidden = x[:, step] @ w.T + b, hidden @ u.T + c
        if name == "rnn":
            hidden = torch.tanh(from_input + from_hidden)
        elif name == "lstm":
            enter, forget, candidate, leave = (from_input + from_hidden).chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
            hidden = torch.sigmoid(leave) * torch.tanh(cell)
        else:
            (reset, update, new), (reset_h, update_h, new_h) = from_input.chunk(3, 1), from_hidden.chunk(3, 1)
            update = torch.sigmoid(update + update_h)
            new = torch.tanh(new + torch.sigmoid(reset + reset_h) * new_h)
            hidden = (1 - update) * new + update * hidden
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("name", FILES)
def test_the_model_equals_the_equations_of_its_cell(name: str) -> None:
    torch.manual_seed(0)
    file: ModuleType = FILES[name]
    config = file.Config(vocabulary=11, sequence_length=5, embedding=4, hidden=6)
    model = file.build_model(config).double()
    (tokens,), _ = file.make_batch(config, 3, "cpu")
    states = run_by_hand(name, dict(model.recurrent.named_parameters()), model.embedding(tokens))
    torch.testing.assert_close(model(tokens), model.head(states))


@pytest.mark.parametrize("name", FILES)
def test_a_later_token_does_not_change_earlier_predictions(name: str) -> None:
    torch.manual_seed(0)
    file = FILES[name]
    config = file.Config()
    model = file.build_model(config)
    (tokens,), _ = file.make_batch(config, 2, "cpu")
    changed = tokens.clone()
    changed[:, 20] = (changed[:, 20] + 1) % config.vocabulary
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.equal(before[:, 20:], after[:, 20:])


def test_a_gru_has_three_quarters_of_an_lstms_parameters_and_flops() -> None:
    def recurrent(file: ModuleType) -> int:
        return sum(parameter.numel() for parameter in file.build_model(file.Config()).recurrent.parameters())

    def flops(file: ModuleType) -> int:
        head = 2 * 32 * 128 * 1000
        return int(file.forward_flops(file.Config(), 1)) - head

    assert recurrent(gru) * 4 == recurrent(lstm) * 3
    assert flops(gru) * 4 == flops(lstm) * 3
    assert recurrent(rnn) * 4 == recurrent(lstm)


def test_the_three_files_differ_only_in_their_cell() -> None:
    def text(file: ModuleType) -> list[str]:
        source = Path(str(file.__file__)).read_text(encoding="utf-8")
        body = source.split('"""\n\nfrom __future__', maxsplit=1)[1]
        name = file.__name__.rpartition(".")[2].upper()
        lines = body.replace(name, "CELL").splitlines()
        return [line for line in lines if not line.startswith(("GATES = ", "STATES = ")) and "_cell(token" not in line]

    assert text(rnn) == text(lstm) == text(gru)


def gradients(file: ModuleType, model: nn.Module, tokens: Tensor, targets: Tensor) -> list[Tensor]:
    model.zero_grad()
    file.loss(model(tokens), targets).backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def small(file: ModuleType, **options: object) -> nn.Module:
    """Build a small model, always with the same weights."""
    torch.manual_seed(0)
    config = file.Config(vocabulary=11, sequence_length=7, embedding=4, hidden=6, layers=2, **options)
    model: nn.Module = file.build_model(config).double()
    return model


TOKENS, TARGETS = torch.arange(21).reshape(3, 7) % 11, (torch.arange(21).reshape(3, 7) * 5 + 1) % 11


@pytest.mark.parametrize("name", FILES)
def test_cell_by_cell_gives_outputs_and_gradients_of_the_fused_kernel(name: str) -> None:
    file = FILES[name]
    fused, stepped = small(file), small(file, cell_by_cell=True)
    torch.testing.assert_close(stepped(TOKENS), fused(TOKENS))
    torch.testing.assert_close(gradients(file, stepped, TOKENS, TARGETS), gradients(file, fused, TOKENS, TARGETS))


@pytest.mark.parametrize("cell_by_cell", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_truncated_backpropagation_keeps_the_loss_and_cuts_the_gradient(name: str, cell_by_cell: bool) -> None:
    file = FILES[name]
    whole, cut = small(file), small(file, tbptt=3, cell_by_cell=cell_by_cell)
    torch.testing.assert_close(file.loss(cut(TOKENS), TARGETS), file.loss(whole(TOKENS), TARGETS))

    # By hand: each chunk of 3, 3 and 1 tokens alone, from the state that torch's layer left, as a constant.
    whole.zero_grad()
    state = None
    for chunk in (slice(0, 3), slice(3, 6), slice(6, 7)):
        x, state = whole.recurrent(whole.embedding(TOKENS[:, chunk]), state)
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        share = TARGETS[:, chunk].numel() / TARGETS.numel()
        (share * file.loss(whole.head(x), TARGETS[:, chunk])).backward()
    expected = [parameter.grad.clone() for parameter in whole.parameters()]
    torch.testing.assert_close(gradients(file, cut, TOKENS, TARGETS), expected)
    different = zip(expected, gradients(file, whole, TOKENS, TARGETS), strict=True)
    assert not all(torch.allclose(one, other) for one, other in different)


@pytest.mark.parametrize("name", FILES)
def test_chunks_longer_than_the_text_change_nothing(name: str) -> None:
    file = FILES[name]
    torch.testing.assert_close(
        gradients(file, small(file, tbptt=7), TOKENS, TARGETS), gradients(file, small(file), TOKENS, TARGETS)
    )
    with pytest.raises(ValueError, match="tbptt 0"):
        file.Config(tbptt=0)


@pytest.mark.parametrize("name", FILES)
def test_decoding_gives_the_whole_texts_logits_and_the_stated_state(name: str) -> None:
    file = FILES[name]
    model = small(file).eval()
    expected = model(TOKENS)
    logits, state = model.prefill(TOKENS[:, :4])
    torch.testing.assert_close(logits, expected[:, 3])
    for place in range(4, 7):
        logits, state = model.decode(TOKENS[:, place : place + 1], state)
        torch.testing.assert_close(logits, expected[:, place])
    config = file.Config(vocabulary=11, hidden=6, layers=2)
    assert sum(part.nbytes for part in state) == file.cache_bytes(config, 3, 7, 8) == file.cache_bytes(config, 3, 1, 8)
