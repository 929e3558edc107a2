import copy
import hashlib
import re

import matplotlib as mpl
import pytest

from commutes.errors import ArtefactError
from commutes.report.figures import fit_curves, heat_map, strata_map


def drawn(selection, tmp_path) -> str:
    heat_map(selection, None, tmp_path / "a.svg")
    return (tmp_path / "a.svg").read_text(encoding="utf-8")


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize("layers, sizes", [(3, 4), (12, 3), (1, 1)])
def test_the_same_selection_gives_the_same_bytes(build_selection, tmp_path, layers, sizes):
    digests = set()
    for i in range(2):
        heat_map(build_selection(layers, sizes), tmp_path / f"{i}.png", tmp_path / f"{i}.svg")
        both = (tmp_path / f"{i}.png").read_bytes() + (tmp_path / f"{i}.svg").read_bytes()
        digests.add(hashlib.sha256(both).hexdigest())
    assert len(digests) == 1
    assert b"Date" not in (tmp_path / "0.svg").read_bytes()


def test_the_user_configuration_changes_nothing_and_is_left_alone(build_selection, tmp_path):
    before = drawn(build_selection(2, 2), tmp_path)
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        assert drawn(build_selection(2, 2), tmp_path) == before
        assert mpl.rcParams["font.size"] == 30


def test_each_cell_prints_rate_interval_and_n(build_selection, tmp_path):
    shown = words(drawn(build_selection(3, 4), tmp_path))
    assert {".550", ".830", "[.798, .858]", "n = 600", "layers.2"} <= set(shown)
    assert "selection split, optimistic; best floor .200" in shown
    assert shown.count("n = 600") == 11


def test_layer_by_position_shows_the_best_size_of_each_place(build_sweep, tmp_path):
    sweep = build_sweep(3, ["{b}", "last"], [1, 4])
    shown = words(drawn(sweep, tmp_path))
    assert "IIA of block_output by layer and position" in shown
    assert {"layer", "position", "{b}", "last", "0", "1", "2"} <= set(shown)
    assert shown.count("k = 1, n = 600") == 5
    assert shown.count("k = 4, n = 600") == 1  # the chosen cell, and the only one where size matters
    assert "each cell the best of k = 1, 4" in " ".join(shown)
    # Layers rise from below: the first label that is drawn is the last layer's.
    labels = [word for word in shown if word in ("0", "1", "2")]
    assert labels[:3] == ["2", "1", "0"]


def test_a_large_map_prints_rates_and_says_n_once(build_sweep, tmp_path):
    shown = words(drawn(build_sweep(12, ["{a}", "{b}", "last"], [1, 4]), tmp_path))
    assert sum(word.startswith("[") for word in shown) == 0
    assert sum("n = 600" in word for word in shown) == 1
    assert shown.count("k = 1") == 35


def by_stratum(selection, tmp_path) -> str:
    strata_map(selection, tmp_path / "a.png", tmp_path / "a.svg")
    return (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_every_stratum_has_its_map_and_its_floors(build_sweep, tmp_path):
    sweep = build_sweep(2, ["{b}", "last"], [1, 4])
    shown = words(by_stratum(sweep, tmp_path))
    assert {"left · flip", "left · placebo"} <= set(shown)
    assert {"must become the source's answer", "must stay the base's answer"} <= set(shown)
    assert shown.count("n = 150") == 2
    assert [word for word in shown if word.startswith("nothing")] == ["nothing .00", "nothing 1.00"]
    assert [word for word in shown if word.startswith("constant")] == ["constant .50"] * 2
    # The best of the random subspaces of the cells that are shown: .1 + .87 / 10 at the chosen one.
    assert [word for word in shown if word.startswith("random")] == ["random ≤ .19"] * 2
    assert {".30", ".31", ".87"} <= set(shown)  # flip
    assert {".93", ".92", ".78"} <= set(shown)  # placebo


def test_strata_are_framed_where_the_cell_was_chosen(build_sweep, tmp_path):
    sweep = build_sweep(2, ["{b}", "last"], [1])
    assert by_stratum(sweep, tmp_path).count("#c4560a") == 2
    for cell in sweep["cells"]:
        cell["chosen"] = False
    assert "#c4560a" not in by_stratum(sweep, tmp_path)


def test_a_stratum_that_is_too_small_says_so(build_sweep, tmp_path):
    sweep = build_sweep(1, ["{b}", "last"], [1])
    for cell in sweep["cells"]:
        cell["strata"][0] |= {"status": "too small", "n": 12}
    assert "n = 12, too small" in words(by_stratum(sweep, tmp_path))


def test_a_hole_in_a_stratum_is_no_zero(build_selection, tmp_path):
    assert "<pattern" in by_stratum(build_selection(3, 4), tmp_path)
    selection = build_selection(3, 4)
    hole = next(cell for cell in selection["cells"] if cell["rate"] is None)
    hole |= {**selection["cells"][1], "row": hole["row"], "column": hole["column"]}
    assert "<pattern" not in by_stratum(selection, tmp_path)


def test_the_same_strata_give_the_same_bytes(build_sweep, tmp_path):
    digests = {by_stratum(build_sweep(3, ["{b}", "last"], [1]), tmp_path) for _ in range(2)}
    assert len(digests) == 1


def test_without_strata_there_is_no_map_of_them(build_selection, tmp_path):
    selection = build_selection(2, 2)
    for cell in selection["cells"]:
        cell["strata"] = []
    with pytest.raises(ArtefactError) as caught:
        by_stratum(selection, tmp_path)
    assert str(caught.value) == (
        "there is nothing to draw: the selection has no strata\n"
        "  got:      4 cells, none of them with pairs in a stratum\n"
        "  expected: at least one stratum that was measured\n"
        "  do:       draw the heat map alone"
    )


def test_a_hole_is_no_zero(build_selection, tmp_path):
    selection = build_selection(3, 4)
    with_hole = drawn(selection, tmp_path)
    assert "failed" in words(with_hole)
    zero = copy.deepcopy(selection)
    hole = next(cell for cell in zero["cells"] if cell["rate"] is None)
    hole |= {"rate": 0.0, "low": 0.0, "high": 0.006, "n": 600, "floor": 0.2, "status": "measured"}
    assert "failed" not in words(drawn(zero, tmp_path))
    assert ".000" in words(drawn(zero, tmp_path))
    assert with_hole.count("<pattern") > drawn(zero, tmp_path).count("<pattern") == 0


def test_a_cell_that_was_never_filed_is_missing(build_selection, tmp_path):
    selection = build_selection(2, 2)
    del selection["cells"][1]
    assert "missing" in words(drawn(selection, tmp_path))


def test_only_a_chosen_cell_is_framed(build_selection, tmp_path):
    selection = build_selection(2, 2)
    assert "chosen" in words(drawn(selection, tmp_path))
    for cell in selection["cells"]:
        cell["chosen"] = False
    svg = drawn(selection, tmp_path)
    assert "chosen" not in words(svg)
    assert "#c4560a" not in svg


def test_colour_is_the_rate_above_the_floor(build_selection, tmp_path):
    selection = build_selection(1, 1)
    at_floor = copy.deepcopy(selection)
    at_floor["cells"][0]["floor"] = 0.95
    assert "#f3f6fa" in drawn(at_floor, tmp_path)  # the foot of the scale: nothing above the floor
    grid = drawn(selection, tmp_path).split("layers.0")[0]
    assert "#f3f6fa" not in grid


def test_hostile_labels_stay_text(build_selection, tmp_path):
    selection = build_selection(1, 1)
    label = "</text><script>x</script>$\\alpha$\x1b"
    selection["rows"] = [label]
    selection["cells"][0]["row"] = label
    svg = drawn(selection, tmp_path)
    assert "<script" not in svg
    assert "\x1b" not in svg
    assert "&lt;/text&gt;&lt;script" in svg


def test_the_figures_hold_no_pictures_of_pixels(build_selection, tmp_path):
    assert "<image" not in drawn(build_selection(2, 2), tmp_path)


def test_a_cell_off_the_grid_is_refused(build_selection, tmp_path):
    selection = build_selection(2, 2)
    selection["cells"][0]["row"] = "layers.9"
    with pytest.raises(ArtefactError) as caught:
        drawn(selection, tmp_path)
    assert str(caught.value) == (
        "a cell of the selection is not on its grid\n"
        "  got:      row layers.9, column 1\n"
        "  expected: a row of layers.0, layers.1 and a column of 1, 2\n"
        "  do:       name cells by the labels of their row and column"
    )


def test_an_empty_selection_is_refused(build_selection, tmp_path):
    with pytest.raises(ArtefactError, match="there is nothing to draw: the selection has no cells"):
        drawn(build_selection(1, 1) | {"rows": []}, tmp_path)
    with pytest.raises(ArtefactError, match="not one that a heat map can show"):
        drawn({"rows": ["a"]}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def history(label: str, steps: int = 50) -> dict:
    return {
        "label": label,
        "loss": [(s, 1 / (1 + s)) for s in range(steps)],
        "select": [(s, s / steps) for s in range(0, steps, 10)] + [(steps, float("nan"))],
        "kept": 40,
    }


@pytest.mark.parametrize("n", [1, 5])
def test_curves_are_drawn_and_repeat(tmp_path, n):
    for name in "ab":
        fit_curves(
            [history(f"fit {i}") for i in range(n)], tmp_path / f"{name}.png", tmp_path / f"{name}.svg"
        )
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    shown = words((tmp_path / "a.svg").read_text(encoding="utf-8"))
    assert {f"fit {i}" for i in range(n)} <= set(shown)


def test_a_fit_without_points_is_an_empty_panel(tmp_path):
    fit_curves([{"label": "empty", "loss": [], "select": [], "kept": None}], tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_no_history_is_refused():
    with pytest.raises(ArtefactError, match="there is nothing to draw: no fit has a history"):
        fit_curves([])


def test_without_a_floor_a_cell_has_no_colour(build_selection, tmp_path):
    selection = build_selection(1, 1)
    coloured = drawn(selection, tmp_path)
    selection["cells"][0]["floor"] = None
    bare = drawn(selection, tmp_path)
    assert ".550" in words(bare)
    assert bare.count("fill: #ffffff") > coloured.count("fill: #ffffff")


def test_a_long_label_is_whole_and_in_lines(build_selection, tmp_path):
    label = "selection split, optimistic; chosen by the worst cell, then the mean, then the smaller size"
    shown = words(drawn(build_selection(1, 1) | {"label": label}, tmp_path))
    assert label not in shown
    assert label in " ".join(shown)
