"""Who takes the tensor of a site, and what of it they can read: found by watching a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Network
from commutes.engine import prepare
from commutes.robustness._readers import READ, ReadSpace, listed, read_space
from commutes.robustness._uses import uses
from tests.network.transformers import models as M

VALUES = {"x": np.linspace(-1, 1, 12).reshape(3, 4)}


def encode(values):
    return torch.from_numpy(values["x"].astype(np.float32))


class Site(nn.Module):
    """A linear site of width 6, and whatever comes behind it."""

    def __init__(self, behind: nn.Module) -> None:
        super().__init__()
        self.site = nn.Linear(4, 6)
        self.behind = behind
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.behind(self.site(x)))


def network(behind: nn.Module) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Site(behind).eval()
    return Network(module, encode=encode, answers=[0, 1])


def space(net: Network, path: str = "site", **where) -> ReadSpace | str:
    site = net.site(path, **where)
    return read_space(prepare(net, VALUES, [site]), site)


def made(forward):
    """A module whose forward is this function of itself and its input."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(6, 3)
            self.other = nn.Linear(6, 3)

        def forward(self, x):
            return forward(self, x)

    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Made()


def test_a_linear_map_reads_its_row_space():
    behind = nn.Linear(6, 3)
    found = space(network(behind))
    assert (found.readers, found.rank, found.width) == (("behind",), 3, 6)
    weight = behind.weight.detach().double()
    _, gains, rows = torch.linalg.svd(weight, full_matrices=False)
    torch.testing.assert_close(found.rows[0].gains, gains)
    columns = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(found.project(columns), rows.T @ rows @ columns)
    # What is taken away is nothing to the reader, and what stays is all of it.
    torch.testing.assert_close(weight @ found.project(columns), weight @ columns)
    # Distances in the view are those of the pre-activations.
    torch.testing.assert_close(
        torch.cdist(found.view(columns.T), found.view(columns.T)),
        torch.cdist(columns.T @ weight.T, columns.T @ weight.T),
        atol=1e-6, rtol=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.inner(x),
        lambda m, x: m.inner(nn.functional.dropout(x, training=False)),
        lambda m, x: m.inner(x.clone().contiguous().unsqueeze(1)).squeeze(1),
        lambda m, x: x @ m.inner.weight.T,
        lambda m, x: torch.addmm(m.inner.bias, x.view(-1, 6), m.inner.weight.T),
        lambda m, x: nn.functional.linear(bias=None, weight=m.inner.weight, input=x),
    ],
)
def test_the_same_map_is_found_however_it_is_written(forward):
    behind = made(forward)
    found = space(network(behind))
    assert (found.readers[0].startswith("behind"), found.rank) == (True, 3)
    torch.testing.assert_close(
        found.rows[0].gains, torch.linalg.svdvals(behind.inner.weight.detach().double())
    )


def test_several_readers_read_what_any_of_them_reads():
    found = space(network(made(lambda m, x: m.inner(x) + m.other(x).relu())))
    assert found.readers == ("behind.inner", "behind.other")
    assert str(found) == "behind.inner and behind.other read 6 of 6 directions"


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (lambda m, x: m.inner(x.relu()), "site is read by relu in behind, which is no linear map of its features"),
        (
            lambda m, x: m.inner(x + m.other(x).repeat(1, 2)),
            "site is added to something else in behind, as in a residual stream: all of it is read",
        ),
        (
            lambda m, x: m.inner(nn.functional.layer_norm(x, (6,))),
            "site is read by layer_norm in behind, which is no linear map of its features",
        ),
        (lambda m, x: m.inner(x.relu_()), "site is read by relu_ in behind, which is no linear map of its features"),
        (lambda m, x: m.inner(x) * x[:, :3], "site is read by mul in behind, which is no linear map of its features"),
        (lambda m, x: m.inner(x) + x.max(), "site is read by max in behind, which is no linear map of its features"),
        # A weight that is made in the run may be another for another input.
        (
            lambda m, x: x @ (m.inner.weight * 2).T,
            "site is read by matmul in behind, which is no linear map of its features",
        ),
        (
            lambda m, x: (m.inner.weight @ x.T).T,
            "site is read by matmul in behind, which is no linear map of its features",
        ),
        (lambda m, x: torch.ones(len(x), 3), "nothing reads site"),
    ],
)  # fmt: skip
def test_what_is_no_linear_map_is_named(forward, why):
    assert space(network(made(forward))) == why


def test_what_used_the_tensor_before_the_edit_does_not_count():
    """The input of a module is edited for that module alone."""
    net = network(made(lambda m, x: m.inner(x) + x[:, :3].relu()))
    assert space(net, "behind.inner", side="input").readers == ("behind.inner",)
    assert "mul" in space(network(made(lambda m, x: m.inner(x * 2))), "site")


def test_the_answer_itself_is_read_by_whoever_asks():
    assert space(network(nn.Linear(6, 3)), "head") == (
        "head is read by the answer itself in the module itself, which is no linear map of its features"
    )


def test_a_direction_of_next_to_no_gain_is_not_read():
    behind = nn.Linear(6, 3)
    with torch.no_grad():
        behind.weight.copy_(torch.eye(3, 6) * torch.tensor([[4.0], [4.0 * READ * 1.1], [4.0 * READ * 0.9]]))
    assert space(network(behind)).rank == 2


def test_a_part_of_a_site_is_read_by_its_own_columns():
    behind = nn.Linear(6, 3)
    with torch.no_grad():
        behind.weight.copy_(torch.eye(3, 6))
    found = space(network(behind), part=[0, 4, 5])
    assert (found.rank, found.width) == (1, 3)
    torch.testing.assert_close(
        found.project(torch.eye(3, dtype=torch.float64)), torch.diag(torch.tensor([1.0, 0, 0])).double()
    )


def test_nothing_is_left_on_the_module_even_after_an_error():
    net = network(made(lambda m, x: m.inner(x) if torch.is_grad_enabled() else 1 / 0))
    before = {
        name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in net.module.named_modules()
    }
    site = net.site("site")
    with pytest.raises(ZeroDivisionError):
        uses(net, net.encode(VALUES), site.moments[0])
    assert {
        n: len(m._forward_hooks) + len(m._forward_pre_hooks) for n, m in net.module.named_modules()
    } == before
    assert set(before.values()) == {0}


def test_positions_of_a_sequence_are_read_alike_and_apart():
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site, self.reader = nn.Linear(2, 4), nn.Linear(4, 1)

        def forward(self, x):
            return self.reader(self.site(x.reshape(-1, 2, 2))).squeeze(-1)

    net = Network(Sequence(), encode=encode, answers=[0, 1])
    weight = net.module.reader.weight.detach().double()[0]
    both, each = space(net), space(net, each=True)
    assert (both.rank, both.width, each.rank, each.width) == (2, 8, 1, 4)
    apart = torch.block_diag(*[torch.outer(weight, weight) / weight.square().sum()] * 2)
    torch.testing.assert_close(both.project(torch.eye(8, dtype=torch.float64)), apart)
    assert space(net, position=[1]).width == 4


@pytest.mark.parametrize(
    ("family", "name", "expected"),
    [
        ("gpt2", "mlp_activation", "transformer.h.1.mlp.c_proj reads 16 of 64 directions"),
        ("gpt2", "attention_value_output", "transformer.h.1.attn.c_proj reads 16 of 16 directions"),
        ("llama", "attention_value_output", "model.layers.1.self_attn.o_proj reads 16 of 24 directions"),
        ("llama", "attention_input",
         "model.layers.1.self_attn.q_proj, model.layers.1.self_attn.k_proj and model.layers.1.self_attn.v_proj"
         " read 16 of 16 directions"),
        ("gpt2", "mlp_output",
         "transformer.h.1.mlp is added to something else in transformer.h.1, as in a residual stream: all of it is"
         " read"),
    ],
)  # fmt: skip
def test_readers_of_transformers(family, name, expected):
    net = Network(
        M.model(family),
        M.fitting_tokenizer(family),
        template="{a}+{b}=",
        answers={i: str(i) for i in range(10)},
    )
    site = net.site(name, layer=1, position="last")
    found = read_space(prepare(net, {"a": np.array([12, 30]), "b": np.array([44, 67])}, [site]), site)
    assert str(found) == expected


def test_names_in_a_sentence():
    assert [listed("abcde"[:n]) for n in (1, 2, 3, 5)] == ["a", "a and b", "a, b and c", "a, b, c and 2 more"]
