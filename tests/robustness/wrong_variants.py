"""For every check, the tests in which a wrong variant of its statistic lets pass what the right one does not.

A check that comes without one fails tests/robustness/test_wrong_variants.py.
"""

from __future__ import annotations

DECOYS = "tests/robustness/test_decoys.py"

WRONG_VARIANTS: dict[str, tuple[str, ...]] = {
    "A1": (f"{DECOYS}::test_accuracy_on_the_inputs_that_work_hides_a_network_that_does_not",),
    "A2": (
        f"{DECOYS}::test_a_mean_instead_of_the_worst_cell_lets_an_inert_copy_pass",
        f"{DECOYS}::test_a_rate_without_its_bounds_lets_a_handful_of_pairs_pass",
    ),
    "A3": (f"{DECOYS}::test_the_mean_over_rivals_instead_of_the_nearest_lets_data_pass_that_tell_nothing",),
    "A5": (f"{DECOYS}::test_the_target_as_a_limit_for_maps_lets_a_map_pass_that_goes_most_of_the_way",),
    "A6": (f"{DECOYS}::test_a_gap_among_fitted_pairs_alone_lets_memory_pass",),
    "A9": (f"{DECOYS}::test_reach_against_all_pairs_lets_a_constant_edit_pass",),
    "B1": (
        f"{DECOYS}::test_the_untrained_gate_the_wrong_way_round_lets_a_wrong_claim_pass",
        f"{DECOYS}::test_one_untrained_network_in_place_of_their_spread_decides_too_much",
    ),
    "B2": (
        f"{DECOYS}::test_the_mean_over_controls_instead_of_the_worst_lets_a_copied_control_pass",
        f"{DECOYS}::test_strata_of_the_claims_answers_would_flatter_a_control",
    ),
}
"""Check id to the tests, as file and function."""
