"""The report as one page: opens offline, runs nothing, asks nobody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from commutes.report._detection import parted
from commutes.report._measured import (
    companion_rows,
    data_words,
    floor_names,
    measure,
    rate_words,
    self_check_words,
    untrained_rows,
    value_words,
)
from commutes.report._schema import CheckRecord, ReportRecord
from commutes.report._sought import SIZES, sought_rows
from commutes.report._svg import inline_svg
from commutes.report._text import clean, count, interval, number, plural, share
from commutes.report.catalogue import LEVELS, Level, entry
from commutes.report.record import as_report, plain

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["html"]

_CAPTIONS = {
    "heat_map": "Where the variables were sought, on the selection split; the framed cell was chosen and measured on "
    "the test split.",
    "strata": "The same by swapped set and stratum, beside what doing nothing, a constant answer and random subspaces "
    "reach.",
    "algorithm": "The hypothesis: its variables and what each depends on.",
    "fit_curves": "How the fits went.",
}


def html(record: Mapping[str, Any] | ReportRecord, *, figures: Mapping[str, str] | None = None) -> str:
    """The report as one self-contained HTML page, complete without JavaScript.

    Args:
        record: A report's record; it also stands in the page whole, as JSON.
        figures: Name to SVG text: "heat_map", "algorithm", "fit_curves", or any other name.

    Raises:
        ArtefactError: The record is not a report's, or a figure is not SVG.
    """
    from markupsafe import Markup

    r = as_report(record)
    drawn = [
        # Cleaned by inline_svg: shapes and text only.
        (Markup(inline_svg(svg, name=f"f{i}")), _CAPTIONS.get(name, name))
        for i, (name, svg) in enumerate((figures or {}).items())
    ]
    return (
        _environment()
        .get_template("report.html")
        .render(
            r=r,
            e=r.evaluation,
            c=r.claim,
            figures=drawn,
            s=r.selection,
            sizes_name=SIZES,
            sought=None if r.selection is None else sought_rows(r.selection),
            power=parted(r.could_have_caught),
            groups=_groups(r),
            tally=_tally(r),
            json=Markup(_data_block(r)),
            **_measured(r),
        )
    )


def _measured(r: ReportRecord) -> dict[str, Any]:
    """What the section of the measurement shows beside the evaluation; nothing where there is none."""
    e = r.evaluation
    if e is None:
        return {}
    return {
        "floors": floor_names(e),
        "data": data_words(e),
        "measure": measure(e),
        "sums": companion_rows(e, untrained=untrained_rows(r.checks), changes=False),
        "self_checks": self_check_words(e),
    }


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("commutes.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        share=share, interval=interval, number=number, count=count, plural=plural, rate=rate_words,
        value=value_words, plain=_provenance, percent=lambda value: f"{100 * value:.2f}",
    )  # fmt: skip
    return environment


def _shown(value: Any) -> Any:
    """What a template prints: markup of ours as it is, anything else with its unseen characters escaped."""
    if hasattr(value, "__html__"):
        return value
    return "—" if value is None else clean(value)


def _provenance(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_provenance(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_provenance(item)}" for key, item in value.items())
    return str(value) if isinstance(value, int) else number(value)


def _groups(r: ReportRecord) -> list[tuple[Level | None, list[CheckRecord]]]:
    """The checks by the level that they gate; last, those that gate none."""
    known = {check.id: _level(check) for check in r.checks}
    groups: list[tuple[Level | None, list[CheckRecord]]] = [
        (level, [check for check in r.checks if known[check.id] == level.name]) for level in LEVELS[1:]
    ]
    return [*groups, (None, [check for check in r.checks if known[check.id] is None])]


def _level(check: CheckRecord) -> str | None:
    try:
        return entry(check.id).level
    except KeyError:
        return None


def _tally(r: ReportRecord) -> list[tuple[str, int]]:
    words = ("supported", "refuted", "inconclusive", "vacuous", "not run")
    return [(word, sum(check.answer == word for check in r.checks)) for word in words]


def _data_block(r: ReportRecord) -> str:
    """The record as JSON that cannot end its script element, whatever texts it holds."""
    text = json.dumps(plain(r), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
