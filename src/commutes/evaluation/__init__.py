"""Interchange-intervention accuracy and its companions."""

from commutes.evaluation._among import Among
from commutes.evaluation._answers import (
    OTHER,
    Answers,
    Candidates,
    Outcome,
    answers_of,
    candidates_of,
    hits,
    losses,
)
from commutes.evaluation._evaluation import DRAWS, Evaluation, evaluate, label_of, measure
from commutes.evaluation._floors import RANDOM, not_excluded, random_maps
from commutes.evaluation._looks import look, looks
from commutes.evaluation._predictions import (
    Alter,
    Bench,
    behaviour,
    bench,
    check_finite_logits,
    clean_answers,
    clean_logits,
    fed_alike,
)
from commutes.evaluation._rates import GATED, Cell, Change, Worst, cell_rows, is_effective, is_gated, rate_of
from commutes.evaluation._scores import answer_scores

__all__ = [
    "DRAWS",
    "GATED",
    "OTHER",
    "RANDOM",
    "Alter",
    "Among",
    "Answers",
    "Bench",
    "Candidates",
    "Cell",
    "Change",
    "Evaluation",
    "Outcome",
    "Worst",
    "answer_scores",
    "answers_of",
    "behaviour",
    "bench",
    "candidates_of",
    "cell_rows",
    "check_finite_logits",
    "clean_answers",
    "clean_logits",
    "evaluate",
    "fed_alike",
    "hits",
    "is_effective",
    "is_gated",
    "label_of",
    "look",
    "looks",
    "losses",
    "measure",
    "not_excluded",
    "random_maps",
    "rate_of",
]
