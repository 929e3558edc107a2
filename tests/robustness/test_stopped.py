"""A network that does not do the task: a card without a claim."""

from __future__ import annotations

import json

import pytest
import torch

from commutes import Network, census, counterfactuals
from commutes.report import as_report, load_report
from commutes.report.html import html
from commutes.robustness import unclaimed
from tests.planted import exact, joined


def parts():
    algorithm, network, _ = exact(6)
    pairs = counterfactuals(algorithm, 600, seed=0)
    return network, pairs.split(train=0.5, select=0.2, test=0.3)


def wrong(network):
    """The same network with its answers turned round on every input."""
    import copy

    module = copy.deepcopy(network.module)
    with torch.no_grad():
        last = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
        last.weight.mul_(-1)
        last.bias.mul_(-1)
    return network.with_module(module)


def test_a_network_that_behaves_is_not_stopped():
    network, (train, select, _) = parts()
    found = unclaimed(network, [train, select])
    assert not found.failed
    assert found.accuracy.rate == 1.0
    assert found.accuracy.n == len(train.ids) + len(select.ids)


def test_a_network_that_fails_has_a_card_and_no_claim(tmp_path):
    network, (train, select, _) = parts()
    found = unclaimed(wrong(network), [train, select], behaviour=0.9, seed=3, reproduce="commutes run x")
    assert found.failed
    record = as_report(found.record())
    assert (record.level, record.verdict, record.claim.opened) == ("R0", "refuted", 0)
    assert record.evaluation is None
    assert record.claim.variables == ()
    answers = {check.id: check.answer for check in record.checks}
    assert answers.pop("A1") == "refuted"
    assert set(answers.values()) == {"not run"}
    reasons = {check.id: check.reason for check in record.checks}
    assert reasons["A2"] == "the network does not do the task: nothing was fitted"
    assert reasons["D5"] == "this version does not have the check"
    shown = str(found)
    first = shown.splitlines()[0]
    assert first.startswith("R0, described, but is not shown to behave: A1 behaviour is refuted (accuracy .")
    assert "on the inputs for fitting and choosing against a floor of .900" in " ".join(shown.split())
    assert "nothing was fitted, and the test split was not opened" in shown
    assert "A1 behaviour is refuted, so train the network further" in " ".join(shown.split())
    found.save(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["report.html", "report.json"]
    assert load_report(tmp_path / "run" / "report.json") == record
    page = (tmp_path / "run" / "report.html").read_text()
    assert 'id="iia"' not in page
    assert "nothing was fitted, and the test split was not opened" in page


def test_the_page_of_a_card_without_a_claim_keeps_the_record_whole():
    network, (train, select, _) = parts()
    record = unclaimed(wrong(network), [train, select]).record()
    block = html(record).split('id="record">')[1].split("</script>")[0]
    assert json.loads(block) == json.loads(json.dumps(record))


@pytest.mark.parametrize("floor", [0.3, 0.5])
def test_what_is_open_is_left_to_the_claim_s_own_test(floor):
    # Half of the answers are right: that is not shown to be below a floor of a half.
    network, (train, select, _) = parts()

    class Half(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            odd = (x.sum(dim=1) % 2 > 0.5).unsqueeze(1)
            return torch.where(odd, self.inner(x), -self.inner(x))

    half = Network(Half(network.module), encode=joined, answers=[False, True])
    found = unclaimed(half, [train, select], behaviour=floor)
    assert 0.4 < found.accuracy.rate < 0.6
    assert not found.failed
    assert unclaimed(half, [train, select], behaviour=0.7).failed


def test_a_complete_domain_is_judged_by_its_value():
    algorithm, network, _ = exact(3)
    complete = census(algorithm)
    found = unclaimed(wrong(network), [complete], behaviour=0.9)
    assert found.failed
    assert found.accuracy.method == "census"
    assert " on the inputs for" not in found.behaviour.outcome.sentence


def test_nan_in_the_answers_is_told_before_any_fit():
    from commutes.errors import EngineError

    network, (train, select, _) = parts()
    broken = wrong(network)
    with torch.no_grad():
        next(broken.module.parameters()).fill_(float("nan"))
    with pytest.raises(EngineError, match="the network's clean answers are not finite"):
        unclaimed(broken, [train, select])
