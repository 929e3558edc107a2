"""Records of claims and measurements, and what people read of them: the card, figures, a page. No torch."""

from __future__ import annotations

from commutes.report._detection import could_have_caught
from commutes.report._files import make_folder, read_bytes, sha256_of, whole_folder, write_bytes, write_text
from commutes.report.card import card, evaluation_table
from commutes.report.catalogue import (
    CATALOGUE,
    LEVELS,
    CatalogueEntry,
    Level,
    entry,
    exit_status,
    headline,
    level_of,
    upgrade,
    verdict,
)
from commutes.report.record import (
    EvaluationRecord,
    RateRecord,
    ReportRecord,
    as_evaluation,
    as_report,
    claim_changed,
    content_hash,
    dump,
    dumps,
    load_evaluation,
    load_report,
    plain,
)

__all__ = [
    "CATALOGUE",
    "LEVELS",
    "CatalogueEntry",
    "EvaluationRecord",
    "Level",
    "RateRecord",
    "ReportRecord",
    "as_evaluation",
    "as_report",
    "card",
    "claim_changed",
    "content_hash",
    "could_have_caught",
    "dump",
    "dumps",
    "entry",
    "evaluation_table",
    "exit_status",
    "headline",
    "level_of",
    "load_evaluation",
    "load_report",
    "make_folder",
    "plain",
    "read_bytes",
    "sha256_of",
    "upgrade",
    "verdict",
    "whole_folder",
    "write_bytes",
    "write_text",
]
