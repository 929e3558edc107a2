"""The sweep in words."""

from __future__ import annotations

from commutes.report._sought import (
    as_selection,
    axis_words,
    best_cells,
    downwards,
    sought_lines,
    sought_rows,
    stratum_floors,
)


def test_layers_by_position_in_lines(build_sweep):
    record = as_selection(build_sweep(3, ["{a}", "last"], [1, 4]))
    assert axis_words(record) == "layer and position"
    assert sought_lines(record, 100) == [
        "Sought in block_output by layer and position: IIA, selection split, optimistic; each cell the best",
        "of k = 1, 4",
        "  layer   {a}    last",
        "  2      .320    .320",
        "  1      .310   [.870]",
        "  0      .300    .300",
        "  [ ] was chosen: layer 1, last, k = 4, worst stratum .435; best floor .200; n = 600",
    ]


def test_sites_by_size_in_lines(build_selection):
    record = as_selection(build_selection(3, 2))
    assert axis_words(record) == "site and size"
    assert sought_lines(record, 100) == [
        "Sought by site and size: IIA, selection split, optimistic",
        "  site           1       2",
        "  layers.0    .550   [.690]",
        "  layers.1    .437    .547",
        "  layers.2  failed    .405",
        "  [ ] was chosen: layers.0, k = 2, worst stratum .345; best floor .200; n = 600",
    ]


def test_what_is_too_wide_for_a_table_is_a_ranking(build_sweep):
    positions = [f"{{word{i}[first]}}" for i in range(12)]
    lines = sought_lines(as_selection(build_sweep(4, positions, [2])), 80)
    assert max(map(len, lines)) <= 80
    assert lines[1] == "  the best 5 of 48 places:"
    assert lines[2] == "  layer 2, {word11[first]}, k = 2  [.600]  [.560, .638]"


def test_the_chosen_size_stands_for_its_place(build_sweep):
    sweep = build_sweep(1, ["{a}", "last"], [1, 4])
    for cell in sweep["cells"]:
        cell["chosen"] = cell["size"] == 1 and cell["column"] == "last"
    best = best_cells(as_selection(sweep))
    assert best[0, "last"].size == 1
    assert best[0, "{a}"].size == 1  # no better, and smaller


def test_the_best_size_is_the_one_with_the_best_worst_stratum(build_sweep):
    sweep = build_sweep(1, ["{a}", "last"], [1, 4])
    for cell in sweep["cells"]:
        cell["chosen"] = False
        cell["worst"] = 0.1 * cell["size"]
    assert {cell.size for cell in best_cells(as_selection(sweep)).values()} == {4}


def test_layers_rise_and_sites_keep_their_order(build_sweep, build_selection):
    assert downwards(as_selection(build_sweep(3, ["{a}", "last"], [1]))) == [2, 1, 0]
    assert downwards(as_selection(build_selection(2, 2))) == ["layers.0", "layers.1"]


def test_floors_have_the_range_of_the_cells_that_are_shown(build_sweep):
    record = as_selection(build_sweep(3, ["{a}", "last"], [1, 4]))
    floors = stratum_floors(record, "left", "flip")
    assert floors["do nothing"] == (0.0, 0.0)
    low, high = floors["random subspace"]
    assert (round(low, 3), round(high, 3)) == (0.13, 0.187)
    assert stratum_floors(record, "left", "novel") == {}


def test_the_table_has_every_cell_and_stratum(build_sweep):
    found = sought_rows(as_selection(build_sweep(2, ["{a}", "last"], [1, 4])))
    assert found.strata == (("left", "flip"), ("left", "placebo"))
    assert [(cell.row, cell.column, size) for cell, size, _ in found.rows] == [
        (layer, position, k) for layer in range(2) for position in ("{a}", "last") for k in (1, 4)
    ]
    assert all(strata[0] is not None and strata[0].stratum == "flip" for _, _, strata in found.rows)
