"""Coverage against rivals, recomputed by plain loops."""

from __future__ import annotations

import itertools

import pytest

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Share, census, counterfactuals
from commutes.errors import DataError


def rival() -> Algorithm:
    """The same function by other variables: a and (b or c)."""
    regrouped = Algorithm("or-and")
    regrouped.inputs("a b c", domain=[False, True])
    regrouped.add("u", "b", "c", f=lambda b, c: b or c, domain=[False, True])
    # Another order of the values: answers are compared by value, not by code.
    regrouped.add("result", "a", "u", f=lambda a, u: a and u, domain=[True, False], output=True)
    return regrouped


ROWS = list(itertools.product([False, True], repeat=3))


def expected(swap: str, base: tuple, source: tuple) -> bool:
    p = (source if swap == "p" else base)[0] and (source if swap == "p" else base)[1]
    q = (source if swap == "q" else base)[0] and (source if swap == "q" else base)[2]
    return p or q


def answer(row: tuple) -> bool:
    return row[0] and (row[1] or row[2])


def share(swaps: list[str], rival_answer) -> tuple[int, int]:
    cells = [(s, b, t) for s in swaps for b in ROWS for t in ROWS]
    return sum(expected(s, b, t) != rival_answer(s, b, t) for s, b, t in cells), len(cells)


def test_every_share_of_a_census_equals_the_loops(boolean: Algorithm) -> None:
    table = census(boolean).coverage({"regrouped": rival(), "itself": boolean})
    both = ["p", "q"]
    for label, swaps in (("p", ["p"]), ("q", ["q"]), ("all swaps", both)):
        row = table[label]
        assert row["do nothing"] == Share(*share(swaps, lambda s, b, t: answer(b)))
        assert row["swap all"] == Share(*share(swaps, lambda s, b, t: answer(t)))
        constants = [share(swaps, lambda s, b, t, c=c: c) for c in (False, True)]
        assert row["best constant"] == Share(*min(constants))
        # The rival has neither p nor q, so it answers as if nothing was done.
        assert row["regrouped"] == row["do nothing"]
        assert row["itself"] == Share(0, row["itself"].n)
    assert table["p"]["swap q instead"] == Share(*share(["p"], lambda s, b, t: expected("q", b, t)))
    assert "swap p instead" not in table["p"]
    assert table.union["swap q instead"] == table["p"]["swap q instead"]


def test_a_rival_may_set_its_variables_against_the_claims(boolean: Algorithm) -> None:
    table = census(boolean).coverage({"regrouped": rival()}, against={"regrouped": {"p": "u", "q": ["u"]}})
    assert table.union["regrouped"] == Share(*share(["p", "q"], lambda s, b, t: b[0] and (t[1] or t[2])))


def test_what_the_data_does_not_tell_apart_is_listed(boolean: Algorithm) -> None:
    table = census(boolean).coverage({"itself": boolean})
    assert "itself" in table.short()
    assert "do nothing" in table.short(share=0.9)
    assert table.short(share=0.0, pairs=0) == ()
    assert "best constant" in table.short(pairs=10_000)


def test_two_sources_are_two_rivals(equality: Algorithm) -> None:
    pairs = counterfactuals(equality, 800, swap=[{"left"}, {"left", "right"}], seed=0)
    table = pairs.coverage()
    assert list(table["left"]) == ["do nothing", "swap all, source 1", "swap right instead", "best constant"]
    assert list(table["left+right"]) == [
        "do nothing",
        "swap all, source 1",
        "swap all, source 2",
        "swap left instead",
        "swap right instead",
        "best constant",
    ]
    second = table["left+right"]["swap all, source 2"]
    rows = pairs.swap == 1
    assert second.n == 400
    assert second.count == (pairs.expected[rows] != pairs.source_answer[rows, 1]).sum()
    # One variable of the pair alone, from its own source.
    alone = table["left+right"]["swap right instead"]
    y = pairs.source_value("right")[rows] == pairs.base_value("left")[rows]
    assert alone.count == (pairs.expected[rows] != y).sum()


def test_text(boolean: Algorithm) -> None:
    lines = str(census(boolean).coverage()).splitlines()
    assert lines[0].split() == ["expects", "another", "answer", "p", "q", "all", "swaps"]
    assert lines[1].split() == ["do", "nothing", "25%", "(16)", "25%", "(16)", "25%", "(32)"]
    assert lines[3].split() == ["swap", "p", "instead", "-", "34%", "(22)", "34%", "(22)"]


def test_refused_rivals(boolean: Algorithm, equality: Algorithm) -> None:
    pairs = census(boolean)
    with pytest.raises(DataError) as caught:
        pairs.coverage({"equality": equality})
    assert "where:    coverage, rival 'equality'" in str(caught.value)
    with pytest.raises(DataError) as caught:
        pairs.coverage({"regrouped": rival()}, against={"regroupd": {"p": "u"}})
    assert str(caught.value) == (
        "no rival 'regroupd'\n"
        "  where:    coverage(against=)\n"
        "  got:      'regroupd'\n"
        "  expected: one of regrouped\n"
        "  do:       write 'regrouped'"
    )
