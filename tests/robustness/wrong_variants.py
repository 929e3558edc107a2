"""For every check, the tests in which a wrong variant of its statistic lets pass what the right one does not.

A check that comes without one fails tests/robustness/test_wrong_variants.py.
"""

from __future__ import annotations

HERE = "tests/robustness"
DECOYS = f"{HERE}/test_decoys.py"

WRONG_VARIANTS: dict[str, tuple[str, ...]] = {
    "A1": (f"{DECOYS}::test_accuracy_on_the_inputs_that_work_hides_a_network_that_does_not",),
    "A2": (
        f"{DECOYS}::test_a_mean_instead_of_the_worst_cell_lets_an_inert_copy_pass",
        f"{DECOYS}::test_a_rate_without_its_bounds_lets_a_handful_of_pairs_pass",
    ),
    "A3": (f"{DECOYS}::test_the_mean_over_rivals_instead_of_the_nearest_lets_data_pass_that_tell_nothing",),
    "A4": (
        f"{HERE}/test_a4.py::test_the_mean_instead_of_the_share_outside_lets_a_cancellation_and_a_tilt_pass",
        f"{HERE}/test_a4.py::test_natural_inputs_that_are_not_controlled_would_refute_the_truth",
        f"{HERE}/test_a4.py::test_all_sets_together_would_hide_a_variable_that_is_not_recovered",
    ),
    "A5": (f"{DECOYS}::test_the_target_as_a_limit_for_maps_lets_a_map_pass_that_goes_most_of_the_way",),
    "A6": (f"{DECOYS}::test_a_gap_among_fitted_pairs_alone_lets_memory_pass",),
    "A7": (
        f"{HERE}/test_a7.py::test_the_mean_over_combinations_lets_a_cancellation_pass",
        f"{HERE}/test_a7.py::test_noise_on_top_of_the_source_would_double_the_spread",
    ),
    "A9": (f"{DECOYS}::test_reach_against_all_pairs_lets_a_constant_edit_pass",),
    "B1": (
        f"{DECOYS}::test_the_untrained_gate_the_wrong_way_round_lets_a_wrong_claim_pass",
        f"{DECOYS}::test_one_untrained_network_in_place_of_their_spread_decides_too_much",
    ),
    "B2": (
        f"{DECOYS}::test_the_mean_over_controls_instead_of_the_worst_lets_a_copied_control_pass",
        f"{DECOYS}::test_strata_of_the_claims_answers_would_flatter_a_control",
    ),
    "C1": (
        f"{HERE}/test_c1.py::test_the_mean_over_all_pairs_lets_an_unread_copy_pass",
        f"{HERE}/test_c1.py::test_the_mean_over_variables_lets_one_that_fails_pass",
    ),
    "C2": (
        f"{HERE}/test_c2.py::test_one_source_for_all_would_let_crossed_variables_pass",
        f"{HERE}/test_c2.py::test_all_strata_together_would_hide_one_that_fails",
    ),
    "C3": (f"{HERE}/test_c3.py::test_the_mean_over_single_units_lets_an_inert_copy_pass",),
    "C7": (f"{HERE}/test_c7.py::test_reading_alone_would_call_an_unread_copy_redundant",),
    "C8": (
        f"{HERE}/test_c8.py::test_the_mean_accuracy_alone_lets_the_whole_space_and_another_variable_pass",
        f"{HERE}/test_c8.py::test_only_too_much_as_a_failure_lets_an_unused_copy_pass",
        f"{HERE}/test_c8.py::test_only_too_little_as_a_failure_lets_a_claim_pass_that_breaks_what_it_should_leave",
        f"{HERE}/test_c8.py::test_sources_as_they_were_drawn_would_depend_on_the_base",
    ),
    "C9": (f"{HERE}/test_c9.py::test_damage_among_the_algorithms_answers_alone_is_hidden",),
    "D1": (f"{HERE}/test_d1.py::test_a_part_that_is_only_written_within_lets_an_illusion_pass",),
    "D2": (f"{HERE}/test_d2.py::test_the_ratio_on_pairs_that_are_not_controlled_refutes_the_truth",),
    "D3": (
        f"{HERE}/test_d3.py::test_the_full_space_flags_the_truth",
        f"{HERE}/test_d3.py::test_natural_states_of_other_values_flag_the_truth_about_a_rare_value",
    ),
    "D4": (
        f"{HERE}/test_d4.py::test_all_runs_instead_of_those_in_which_a_variable_moves_let_an_inert_copy_pass",
        f"{HERE}/test_d4.py::test_states_that_say_nothing_would_refute_the_truth_about_many_values",
        f"{HERE}/test_d4.py::test_without_a_look_at_redundancy_one_of_two_copies_would_be_refuted",
    ),
    "D6": (f"{HERE}/test_d6.py::test_reading_measured_where_it_was_fitted_takes_memory_for_reading",),
    "E1": (
        f"{HERE}/test_e1.py::test_a_mean_over_shifts_lets_a_gate_pass",
        f"{HERE}/test_e1.py::test_a_shift_on_which_the_network_fails_counted_lets_a_shortcut_pass",
    ),
    "E2": (
        f"{HERE}/test_e2.py::test_the_lower_bound_instead_of_the_upper_lets_a_shortcut_pass",
        f"{HERE}/test_e2.py::test_the_mean_over_variables_instead_of_the_worst_lets_one_of_them_fail",
    ),
    "E3": (
        f"{HERE}/test_e3.py::test_the_overlap_instead_of_the_cross_swap_refuses_the_truth",
        f"{HERE}/test_e3.py::test_a_fit_that_reads_what_it_edited_itself_lets_an_illusion_pass",
        f"{HERE}/test_e3.py::test_agreement_alone_lets_maps_that_move_nothing_pass",
        f"{HERE}/test_e3.py::test_the_mean_over_pairs_of_fits_hides_one_that_others_do_not_read",
    ),
    "E4": (f"{HERE}/test_e4.py::test_refits_on_one_network_are_no_networks",),
    "E5": (
        f"{HERE}/test_e5.py::test_what_is_entailed_would_be_a_rival_that_loses_for_sure",
        f"{HERE}/test_e5.py::test_without_a_relabelling_the_claim_is_a_rival_of_itself",
        f"{HERE}/test_e5.py::test_an_edit_that_does_nothing_or_swaps_all_wins_no_bet",
        "tests/stats/test_weighted_gap.py::test_an_unpaired_gap_is_above_the_truth_too_often_where_one_is_right_when_the_other_is_wrong",
    ),
}
"""Check id to the tests, as file and function."""
