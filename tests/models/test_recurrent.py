"""The recurrent layers against their equations, and their claimed ratios."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from bench.models import gru, lstm, rnn
from torch import Tensor

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


def test_a_gru_has_three_quarters_of_the_recurrent_parameters_and_flops_of_an_lstm() -> None:
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
        return [line for line in body.replace(name, "CELL").splitlines() if not line.startswith("GATES = ")]

    assert text(rnn) == text(lstm) == text(gru)
