"""Every check that is built, by its id in the catalogue, cheapest first."""

from __future__ import annotations

from commutes.robustness._a1_behaviour import behaviour
from commutes.robustness._a2_strata import strata
from commutes.robustness._a3_adequacy import adequacy
from commutes.robustness._a4_margin import margin
from commutes.robustness._a5_capacity import capacity
from commutes.robustness._a6_held_out import held_out
from commutes.robustness._a7_multiverse import multiverse
from commutes.robustness._a9_reach import reach
from commutes.robustness._b1_untrained import untrained
from commutes.robustness._b2_control_tasks import control_tasks
from commutes.robustness._c1_cause_and_isolation import cause_and_isolation
from commutes.robustness._c2_joint import joint
from commutes.robustness._c3_strictness import strict
from commutes.robustness._c7_redundancy import redundancy
from commutes.robustness._c8_necessity import necessity
from commutes.robustness._c9_off_task import off_task
from commutes.robustness._case import Check
from commutes.robustness._d1_row_space import row_space
from commutes.robustness._d2_whole_component import whole_component
from commutes.robustness._d3_natural import natural_to_readers
from commutes.robustness._d4_agreement import agreement
from commutes.robustness._d6_probe_and_patch import probe_and_patch
from commutes.robustness._e1_shifts import shifts
from commutes.robustness._e2_counterexamples import counterexamples
from commutes.robustness._e3_fitting_seeds import fitting_seeds
from commutes.robustness._e4_network_seeds import network_seeds
from commutes.robustness._e5_rivals import rival_algorithms

CHECKS: dict[str, Check] = {
    "A3": adequacy,
    "A1": behaviour,
    "A2": strata,
    "A9": reach,
    "A6": held_out,
    "C1": cause_and_isolation,
    "D6": probe_and_patch,
    "D3": natural_to_readers,
    "A4": margin,
    "C8": necessity,
    "D1": row_space,
    "D2": whole_component,
    "C9": off_task,
    "C2": joint,
    "E1": shifts,
    "C3": strict,
    "D4": agreement,
    "A7": multiverse,
    "C7": redundancy,
    "E2": counterexamples,
    "E5": rival_algorithms,
    "B1": untrained,
    "A5": capacity,
    "B2": control_tasks,
    "E3": fitting_seeds,
    "E4": network_seeds,
}
