"""Checks that try to break a claim, one file each; `challenge` runs them."""

from commutes.robustness._case import Case, Check, Outcome, Progress, Thresholds
from commutes.robustness._challenge import challenge
from commutes.robustness._claim import LEDGER, Claim, claimed, content_hash
from commutes.robustness._controls import controls
from commutes.robustness._off_task import off_task_inputs
from commutes.robustness._refits import Refit, refits
from commutes.robustness._registry import CHECKS
from commutes.robustness._replay import Replayed, replay
from commutes.robustness._report import PAIRS, Report, columns_of, pair_columns
from commutes.robustness._shift import Shift
from commutes.robustness._stopped import Stopped, unclaimed

__all__ = [
    "CHECKS",
    "LEDGER",
    "PAIRS",
    "Case",
    "Check",
    "Claim",
    "Outcome",
    "Progress",
    "Refit",
    "Replayed",
    "Report",
    "Shift",
    "Stopped",
    "Thresholds",
    "challenge",
    "claimed",
    "columns_of",
    "content_hash",
    "controls",
    "off_task_inputs",
    "pair_columns",
    "refits",
    "replay",
    "unclaimed",
]
