"""Answers of several tokens: the model is fed its own, never the expected ones; all of them must be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import commutes as cm
from commutes import Network
from commutes.engine import capture, prepare
from commutes.errors import CommutesError, NetworkError, SiteError
from commutes.evaluation import answers_of
from commutes.features import Neurons
from commutes.network.transformers import _continuation

from . import models as M

VALUES = {"a": np.array([12, 3, 5, 12]), "b": np.array([4, 678, 90, 4])}
ALIKE = {"a": np.array([12, 30, 55]), "b": np.array([40, 67, 90])}
MANY = {"a": np.arange(10, 26), "b": np.array([1, 23, 456, 7890] * 4)}
EQUAL = {"a": np.arange(10, 26), "b": np.arange(99, 67, -2)}
CAUSAL = tuple(f for f in M.FAMILIES if f != "bert")


def network(family: str = "llama", tokens: int = 3, **changes: Any) -> Network:
    answers = {i: f"{i:0{tokens}d}" for i in range(10**tokens if tokens < 3 else 200)}
    return Network(
        M.model(family, **changes), M.fitting_tokenizer(family), template=M.PROMPT, answers=answers
    )


def values_of(family: str) -> dict[str, np.ndarray]:
    return MANY if family in M.PADDED else EQUAL


def text(call: Any, kind: type[CommutesError] = NetworkError) -> str:
    with pytest.raises(kind) as found:
        call()
    return str(found.value)


def prompts(net: Network, values: Any) -> list[list[int]]:
    """The prompts' tokens by the tokenizer alone."""
    tokenizer = net.language.prompt.tokenizer  # type: ignore[union-attr]
    return [tokenizer(f"{a}+{b}=")["input_ids"] for a, b in zip(values["a"], values["b"], strict=True)]


def by_hand(model: Any, ids: list[int], tokens: int) -> tuple[list[int], torch.Tensor]:
    """One prompt alone: what the model is fed at last, and the logits of every token of its answer."""
    logits = []
    for step in range(tokens):
        with torch.no_grad():
            logits.append(model(input_ids=torch.tensor([ids])).logits[0, -1])
        if step < tokens - 1:
            ids = [*ids, int(logits[-1].argmax())]
    return ids, torch.stack(logits)


def run(net: Network, values: Any) -> torch.Tensor:
    fed = net.encode(values)
    with torch.no_grad():
        return net.logits_of(net.module(**fed.kwargs, **net.options))


@pytest.mark.parametrize("tokens", [2, 3])
@pytest.mark.parametrize("family", CAUSAL)
def test_the_model_is_fed_its_own_answer_and_read_at_every_token(family: str, tokens: int) -> None:
    net, values = network(family, tokens), values_of(family)
    fed, found = net.encode(values).kwargs, run(net, values)
    assert found.shape == (len(values["a"]), tokens, M.VOCABULARY)
    continued = set()
    for row, ids in enumerate(prompts(net, values)):
        whole, logits = by_hand(net.module, ids, tokens)
        length = len(whole)
        assert fed["input_ids"][row, -length:].tolist() == whole
        assert (
            fed["attention_mask"][row].tolist() == [0] * (fed["input_ids"].shape[1] - length) + [1] * length
        )
        assert fed["position_ids"][row, -length:].tolist() == list(range(length))
        # Gemma 2 takes its softmax in float32, which rounds otherwise in a longer row.
        assert (found[row] - logits).abs().max() < (1e-10 if family in M.PADDED else 1e-5)
        continued.add(tuple(whole[len(ids) :]))
    # Not all prompts are continued alike, or a continuation of the wrong prompt would pass.
    assert len(continued) > 1


def test_one_token_is_read_as_ever() -> None:
    net = network("llama", 1)
    fed = net.encode(VALUES).kwargs
    assert [row[-1] for row in fed["input_ids"].tolist()] == [ids[-1] for ids in prompts(net, VALUES)]
    assert net.read_position == -1
    assert net.options == {"use_cache": False, "logits_to_keep": 1}
    with torch.no_grad():
        plain = net.module(**fed, use_cache=False, logits_to_keep=1).logits[:, -1]
    assert torch.equal(run(net, VALUES), plain)
    assert net.spelling is not None
    assert net.spelling.shape == (10, 1)


def test_only_the_answers_positions_go_through_the_head() -> None:
    net = network("qwen2", 3)
    assert net.options == {"use_cache": False, "logits_to_keep": 3}
    assert net.read_position == (-3, -2, -1)
    fed = net.encode(VALUES)
    with torch.no_grad():
        whole = net.module(**fed.kwargs).logits
    # A model that gives the logits of all positions is read at the same ones.
    assert (net.logits_of(whole) - run(net, VALUES)).abs().max() < 1e-12
    assert net.logits_of(whole).data_ptr() == whole[:, -3:].data_ptr()
    assert text(lambda: net.logits_of(whole[:, -2:])) == (
        "read= names a position outside the sequence\n  got:      position -3\n  expected: from -2 to 1"
    )
    assert text(lambda: net.logits_of(whole[:, -1])).startswith(
        "read= names a position, but there is no position axis\n"
    )


def lookup(answers: dict[tuple[int, int], str], domain: list[str]) -> cm.Algorithm:
    """An algorithm that answers with these texts."""
    algorithm = cm.Algorithm("lookup")
    a, b = algorithm.inputs("a b", domain=range(4))
    algorithm.add("left", a, f=lambda a: a)
    algorithm.add("y", "left", b, f=lambda left, b: answers[left, b], domain=domain, output=True)
    return algorithm


def test_an_answer_is_right_when_all_its_tokens_are() -> None:
    model, tokenizer = M.model("llama"), M.fitting_tokenizer("llama")
    answers, right = {}, 0
    for a in range(4):
        for b in range(4):
            ids = tokenizer(f"{a}+{b}=")["input_ids"]
            whole, logits = by_hand(model, ids, 3)
            own = [*whole[len(ids) :], int(logits[-1].argmax())]
            # Every third prompt expects another first, middle or last token.
            kind = (4 * a + b) % 6
            if kind < 3:
                own[kind] = (own[kind] + 1) % M.VOCABULARY
            right += kind >= 3
            answers[a, b] = " ".join(map(str, own))
    assert 0 < right < 16
    domain = sorted({*answers.values(), "0 0 0", "0 0 1"})
    net = Network(
        model, tokenizer, template=M.PROMPT, answers={t: tuple(map(int, t.split())) for t in domain}
    )
    algorithm = lookup(answers, domain)
    site = net.site("block_output", layer=0, position="{a}")
    alignment = cm.Alignment(algorithm, {algorithm["left"]: cm.Coordinates(site)[:16]})
    found = cm.evaluate(alignment, cm.census(algorithm))
    assert (found.accuracy.hits, found.accuracy.n) == (right, 16)
    assert found.self_checks["base onto itself"] == 0
    # What is no answer at all, wherever its wrong token is, is no value of the output.
    reader = answers_of(net, algorithm)
    logits = torch.zeros(3, 3, M.VOCABULARY)
    spelt = torch.tensor([(0, 0, 0), (0, 0, 1), (0, 0, 2)])
    logits.scatter_(2, spelt[..., None], 1.0)
    first = domain.index("0 0 0")
    assert reader.decode(logits).tolist() == [first, first + 1, -1]


def copying() -> Any:
    """A model that repeats the token before: nothing of what attention and MLP do arrives."""
    model = M.model("gpt2", n_embd=40, n_layer=1, tie_word_embeddings=True)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".h." in name or "wpe" in name:
                weight.zero_()
        model.transformer.wte.weight.copy_(torch.eye(M.VOCABULARY, 40))
    return model


def repeated() -> tuple[Network, cm.Algorithm]:
    """The digit in front of the answer, twice: what the model that copies does."""
    algorithm = cm.Algorithm("twice")
    (b,) = algorithm.inputs("b", domain=range(10))
    algorithm.add("digit", b, f=lambda b: b)
    algorithm.add("y", "digit", f=lambda digit: f"{digit}{digit}", output=True)
    answers = [f"{d}{d}" for d in range(10)]
    return Network(copying(), M.tokenizer(), template="a+{b}", answers=answers), algorithm


def test_expected_tokens_are_not_fed_because_they_would_leak() -> None:
    net, algorithm = repeated()
    pairs = cm.counterfactuals(algorithm, 200, seed=0)
    # In the first token nothing of the digit is to be found: an intervention there does nothing.
    site = net.site("block_input", layer=0, position=0)
    alignment = cm.Alignment(algorithm, {algorithm["digit"]: cm.Coordinates(site)[:40]})
    found = cm.evaluate(alignment, pairs)
    assert found.accuracy.rate == 1
    assert found.effective.n > 50
    assert found.effective.hits == 0
    # The second tokens that such an intervention gives: the base's own, and those that feeding would suggest.
    columns = algorithm.arrays(pairs.inputs)
    digit = columns["b"][pairs.base[pairs.effective]]
    expected = np.array(algorithm.values(algorithm.output_variable, pairs.expected[pairs.effective]))
    base = {name: column[pairs.base[pairs.effective]] for name, column in columns.items()}
    fed = net.encode(base).kwargs
    with torch.no_grad():
        ours = net.logits_of(net.module(**fed, **net.options)).argmax(-1) - 7
        leaking = dict(fed)
        leaking["input_ids"] = fed["input_ids"].clone()
        leaking["input_ids"][:, -1] = torch.tensor([7 + int(text[0]) for text in expected])
        leaked = net.logits_of(net.module(**leaking, **net.options)).argmax(-1) - 7
    assert ours.tolist() == [[d, d] for d in digit]
    # Without any intervention the second token would be the expected one in every pair.
    assert leaked[:, 1].tolist() == [int(text[1]) for text in expected]


def test_the_tokens_that_are_fed_can_be_sites() -> None:
    net, algorithm = repeated()
    pairs = cm.counterfactuals(algorithm, 200, seed=0)

    def iia(position: Any) -> float:
        site = net.site("block_input", layer=0, position=position)
        count = 40 * (1 if isinstance(position, str) else len(position))
        alignment = cm.Alignment(algorithm, {algorithm["digit"]: cm.Coordinates(site)[:count]})
        return cm.evaluate(alignment, pairs).effective.rate

    # The last token of the prompt makes the first token of the answer, and that one the second.
    assert iia("last") == iia("answer[0]") == 0
    assert iia(["last", "answer[0]"]) == 1


def test_pyvene_answers_alike() -> None:
    net, algorithm = repeated()
    pairs = cm.counterfactuals(algorithm, 60, seed=0)
    site = net.site("block_input", layer=0, position=["last", "answer[0]"])
    alignment = cm.Alignment(algorithm, {algorithm["digit"]: cm.Coordinates(site)[:80]})
    ours, theirs = (cm.evaluate(alignment, pairs, engine=engine) for engine in ("commutes", "pyvene"))
    assert theirs.label == "through pyvene"
    assert ours.answered.tolist() == theirs.answered.tolist()
    assert ours.among is not None
    assert theirs.among is not None
    assert ours.among.hits.tolist() == theirs.among.hits.tolist() == [True] * 60


@pytest.mark.parametrize("family", CAUSAL)
def test_an_interchange_at_a_fed_token_equals_plain_hooks(family: str) -> None:
    net = network(family, 3)
    padded = family in M.PADDED
    values = {"a": np.array([12, 3 if padded else 30]), "b": np.array([4, 678] if padded else [40, 67])}
    close = 1e-10 if padded else 1e-5
    site = net.site("block_output", layer=1, position=["{b[last]}", "last", "answer"])
    block = net.module.get_submodule(net.blocks[1])
    states, rows = [], []
    for ids in prompts(net, values):
        rows.append(by_hand(net.module, ids, 3)[0])
        seen: list[torch.Tensor] = []

        def look(_m: Any, _a: Any, out: torch.Tensor, seen: list[torch.Tensor] = seen) -> None:
            seen.append(out[0])

        handle = block.register_forward_hook(look)
        with torch.no_grad():
            net.module(input_ids=torch.tensor([rows[-1]]))
        handle.remove()
        # The digit before "=", "=", and both tokens of the answer that are fed.
        states.append(seen[0][-4:].clone())
    found = capture(net, values, [site])[site]
    assert (found.reshape(2, 4, -1) - torch.stack(states)).abs().max() < close

    def swap(_m: Any, _a: Any, out: torch.Tensor) -> torch.Tensor:
        out = out.clone()
        out[0, -4:] = states[1]
        return out

    handle = block.register_forward_hook(swap)
    with torch.no_grad():
        expected = net.module(input_ids=torch.tensor([rows[0]])).logits[0, -3:]
    handle.remove()
    prepared = prepare(net, values, [site])
    batch = prepared.batch(torch.tensor([0]), torch.tensor([[1]]))
    every = Neurons(torch.arange(found.shape[-1]))
    with torch.no_grad():
        got = prepared.logits(batch, [every], [torch.ones(1, 1, found.shape[-1], dtype=torch.bool)])
    assert (got[0] - expected).abs().max() < close
    assert (got[0] - run(net, values)[0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("position", "tokens"),
    [
        ("last", [["="], ["="]]),
        (-1, [["="], ["="]]),
        (0, [["[BOS]"], ["[BOS]"]]),
        (-2, [["4"], ["8"]]),
        ("{b[last]}", [["4"], ["8"]]),
        ("{a}", [["1", "2"], ["3", "0"]]),
        ("answer", None),
        ("answer[0]", None),
        (["answer[1]", "last"], None),
    ],
)
def test_positions_count_within_the_prompt(position: Any, tokens: list[list[str]] | None) -> None:
    net = network("llama", 3)
    values = {"a": np.array([12, 30]), "b": np.array([4, 678])}
    ids = net.encode(values).kwargs["input_ids"]
    site = net.site("block_output", layer=0, position=position)
    table = site.places[0].positions(values, 2, ids.shape[1], source=False)
    assert table is not None
    found = [M.tokenizer().convert_ids_to_tokens(row) for row in ids.gather(1, table)]
    if tokens is None:
        fed = [by_hand(net.module, row, 3)[0][-2:] for row in prompts(net, values)]
        words = [M.tokenizer().convert_ids_to_tokens(row) for row in fed]
        tokens = {
            "answer": words,
            "answer[0]": [row[:1] for row in words],
        }.get(str(position), [[row[1], "="] for row in words])
    assert found == tokens


def test_every_token_is_every_token_of_the_prompt() -> None:
    net = network("llama", 2)
    ids = net.encode(ALIKE).kwargs["input_ids"]
    for position in (None, "every"):
        site = net.site("block_output", layer=0, position=position)
        table = site.places[0].positions(ALIKE, 3, ids.shape[1], source=False)
        assert table is not None
        assert ids.gather(1, table).tolist() == prompts(net, ALIKE)


def test_tokens_of_the_answer_that_are_not_fed() -> None:
    net = network("llama", 3)
    assert text(lambda: net.site("block_output", layer=0, position="answer[2]"), SiteError) == (
        "there is no such token of the answer behind the prompt\n"
        "  got:      'answer[2]'\n"
        "  expected: from 'answer[0]' to 'answer[1]': the last token of an answer is never fed"
    )
    one = network("llama", 1)
    for position in ("answer", "answer[0]"):
        assert text(
            lambda position=position: one.site("block_output", layer=0, position=position), SiteError
        ) == (
            "there is no such token of the answer behind the prompt\n"
            f"  got:      '{position}'\n"
            "  expected: 'last', where the answer is read: it is not fed"
        )
    assert "nearest: 'answer'" in text(lambda: net.site("block_output", layer=0, position="answr"), SiteError)


def test_positions_of_the_answer_are_saved_as_words(tmp_path: Path) -> None:
    net, algorithm = repeated()
    site = net.site("block_input", layer=0, position=["last", "answer[0]"])
    alignment = cm.Alignment(algorithm, {algorithm["digit"]: cm.Coordinates(site)[:80]})
    cm.save(alignment, tmp_path)
    back = cm.load(tmp_path, algorithm=algorithm, network=net)
    pairs = cm.counterfactuals(algorithm, 60, seed=0)
    assert cm.evaluate(back, pairs).effective.rate == 1


class Calls:
    """Counts the rows that a model runs."""

    def __init__(self, model: Any) -> None:
        self.rows = 0
        model.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, _model: Any, _args: Any, named: Any) -> None:
        self.rows += len(named["input_ids"])


def test_a_prompt_is_continued_once() -> None:
    net = network("llama", 3)
    calls = Calls(net.module)
    fed = net.encode(VALUES).kwargs["input_ids"]
    # Two steps for each of three different prompts.
    assert calls.rows == 6
    again = net.encode(VALUES).kwargs["input_ids"]
    one = net.encode({name: column[1:2] for name, column in VALUES.items()}).kwargs["input_ids"]
    assert calls.rows == 6
    assert torch.equal(fed, again)
    assert torch.equal(fed[1:2], one)
    net.encode({"a": np.array([12, 9]), "b": np.array([4, 9])})
    assert calls.rows == 8


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_continuation, "_KEPT", 2)
    monkeypatch.setattr(_continuation, "_ROWS", 2)
    net = network("llama", 2)
    calls = Calls(net.module)
    values = {"a": np.arange(5), "b": np.arange(5)}
    fed = net.encode(values).kwargs["input_ids"]
    assert calls.rows == 5
    # The last two are kept, the first three are run again.
    assert torch.equal(net.encode(values).kwargs["input_ids"], fed)
    assert calls.rows == 8
    assert [row[-1] for row in fed.tolist()] == [
        by_hand(net.module, r, 2)[0][-1] for r in prompts(net, values)
    ]


def test_a_model_that_was_trained_since_goes_on_anew() -> None:
    net = network("llama", 3)
    before = net.encode(VALUES).kwargs["input_ids"]
    optimiser = torch.optim.SGD(net.module.parameters(), lr=1.0)
    net.module(input_ids=before).logits.square().mean().backward()
    optimiser.step()
    fed = net.encode(VALUES).kwargs["input_ids"]
    assert not torch.equal(before, fed)
    for row, ids in enumerate(prompts(net, VALUES)):
        whole = by_hand(net.module, ids, 3)[0]
        assert fed[row, -len(whole) :].tolist() == whole


def _goes_on_as_it_is(net: Any, before: torch.Tensor) -> None:
    """Anew, as the model does by itself."""
    fed = net.encode(VALUES).kwargs["input_ids"]
    assert not torch.equal(before, fed)
    for row, ids in enumerate(prompts(net, VALUES)):
        whole = by_hand(net.module, ids, 3)[0]
        assert fed[row, -len(whole) :].tolist() == whole


def test_weights_that_are_written_behind_ones_back_are_noticed() -> None:
    """What goes through `.data` is not counted by the tensor."""
    net = network("llama", 3)
    before = net.encode(VALUES).kwargs["input_ids"]
    head: Any = net.module.get_submodule("lm_head")
    version = head.weight._version
    # Rows of the vocabulary in another order: the same numbers, other tokens.
    head.weight.data.copy_(head.weight.data.roll(1, dims=0))
    assert head.weight._version == version
    _goes_on_as_it_is(net, before)


def test_hooks_that_come_and_go_are_noticed() -> None:
    net = network("gpt2", 3)
    before = net.encode(VALUES).kwargs["input_ids"]
    shift = 9 * torch.randn(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    block = net.module.get_submodule(net.blocks[2])
    handle = block.register_forward_hook(lambda _m, _a, out: out * 0 + shift)
    _goes_on_as_it_is(net, before)
    handle.remove()
    assert torch.equal(net.encode(VALUES).kwargs["input_ids"], before)


def test_an_untrained_twin_goes_on_in_its_own_way() -> None:
    net = network("gpt2", 3)
    before = net.encode(VALUES).kwargs["input_ids"]
    twin = net.reinitialised(1)
    fed = twin.encode(VALUES).kwargs["input_ids"]
    for row, ids in enumerate(prompts(net, VALUES)):
        whole, logits = by_hand(twin.module, ids, 3)
        assert fed[row, -len(whole) :].tolist() == whole
        assert (run(twin, VALUES)[row] - logits).abs().max() < 1e-10
    assert not torch.equal(fed, before)
    assert torch.equal(net.encode(VALUES).kwargs["input_ids"], before)
    # What a site means does not change: it is of the prompt, which both read alike.
    site = twin.site("block_output", layer=1, position=["last", "answer"])
    assert bool(torch.isfinite(capture(twin, VALUES, [site])[site]).all())


def test_what_was_answered_is_no_part_of_what_the_network_is() -> None:
    net = network("llama", 3)
    before = net.fingerprint
    net.encode(VALUES)
    assert net.fingerprint == before == network("llama", 3).fingerprint
    assert before != network("llama", 2).fingerprint


def test_nothing_of_the_model_or_the_generators_is_changed() -> None:
    net = network("gpt2", 3)
    before = {k: v.clone() for k, v in net.module.state_dict().items()}
    state = torch.random.get_rng_state()
    with torch.enable_grad():
        fed = net.encode(VALUES).kwargs
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in net.module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.module.parameters())
    assert not any(len(m._forward_hooks) or len(m._forward_pre_hooks) for m in net.module.modules())
    assert not any(tensor.requires_grad for tensor in fed.values())


def test_a_model_in_training_mode_does_not_answer_first() -> None:
    net = network("gpt2", 2)
    net.module.train()
    assert text(lambda: net.encode(VALUES)).startswith(
        "the network is in training mode\n  where:    transformer.drop\n"
    )


def test_the_tokens_that_are_fed_must_fit_the_context_window() -> None:
    # With what begins it the prompt has 5 + b tokens; 24 fit, of which two are the answer's.
    fits = {"a": np.array([1]), "b": np.array([10**17])}
    assert network("llama", 3).encode(fits).kwargs["input_ids"].shape == (1, 24)
    long = {"a": np.array([1]), "b": np.array([10**18])}
    assert text(lambda: network("llama", 3).encode(long)) == (
        "a prompt does not fit the model's context window\n"
        "  where:    example 0: '1+1000000000000000000='\n"
        "  got:      23 tokens and 2 of the answer\n"
        "  expected: 1 to 24 tokens\n"
        "  do:       shorten the template"
    )
    assert network("llama", 2).encode(long).n == 1


def bert(template: str = "{a}+{b}=[MASK][MASK]", answers: Any = None) -> Network:
    answers = {i: f"{i:02d}" for i in range(100)} if answers is None else answers
    return Network(M.model("bert"), M.fitting_tokenizer("bert"), template=template, answers=answers)


def test_a_masked_model_answers_in_place_of_masks_side_by_side() -> None:
    net = bert("{a}+[MASK][MASK]=9")
    values = {"a": np.array([12, 3])}
    fed = net.encode(values).kwargs
    assert net.read_position == (-5, -4)
    # Nothing is fed: both masks are answered at once.
    mask = net.language.prompt.tokenizer.mask_token_id  # type: ignore[union-attr]
    for row, a in enumerate(("12", "3")):
        ids = net.language.prompt.tokenizer(f"{a}+[MASK][MASK]=9")["input_ids"]  # type: ignore[union-attr]
        assert fed["input_ids"][row, -len(ids) :].tolist() == ids
        with torch.no_grad():
            logits = net.module(input_ids=torch.tensor([ids])).logits[0]
        masks = [i for i, token in enumerate(ids) if token == mask]
        assert len(masks) == 2
        assert (run(net, values)[row] - logits[masks]).abs().max() < 1e-10
    assert net.language is not None
    assert net.language.tokens[42] == (11, 9)
    last = net.site("block_output", layer=0, position="last").places[0]
    assert last.positions(values, 2, 8, source=False).tolist() == [[7], [7]]  # type: ignore[union-attr]
    assert text(lambda: net.site("block_output", layer=0, position="answer"), SiteError).startswith(
        "there is no such token of the answer behind the prompt\n"
    )


def test_masks_and_answers_that_do_not_fit() -> None:
    assert text(lambda: bert(answers={1: "1", 2: "2"})) == (
        "an answer is not 2 tokens\n"
        "  where:    answer 1\n"
        "  got:      '1' is '1' (8); ' 1' is ' ' (19) '1' (8); in place: '1' (8) '[SEP]' (5)\n"
        "  expected: exactly 2 tokens in place of the masks\n"
        "  do:       give the text as it follows the prompt, blank included, or the id of one token that stands for it"
    )
    assert text(lambda: bert("{a}+{b}=[MASK]")).startswith(
        "an answer is not one token\n  where:    answer 0\n"
    )
    assert text(lambda: bert(answers={0: 7, 1: 8})) == (
        "an answer has another number of tokens than the template has masks\n"
        "  where:    {a}+{b}=[MASK][MASK]\n"
        "  got:      1 tokens in an answer, 2 masks\n"
        "  expected: as many of the one as of the other"
    )
    assert text(lambda: bert("{a}[MASK]+{b}=[MASK]")) == (
        "the masks are not at one place from the end\n"
        "  where:    the prompt: '0[MASK]+0=[MASK]'\n"
        "  got:      masks at [-6, -2]\n"
        "  expected: 2 masks side by side, the last 2 tokens from the end of every prompt\n"
        "  do:       let no slot of varying length follow the masks, and nothing part them"
    )
