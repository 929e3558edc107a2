"""What a spec holds its claim against, beside what every claim is held against."""

from __future__ import annotations

from commutes.robustness import Shift
from commutes.search._builders import named_distribution
from commutes.search._hypothesis import Hypothesis
from commutes.search._spec import Spec

__all__ = ["build_shifts"]


def build_shifts(hypothesis: Hypothesis, spec: Spec) -> list[Shift]:
    """The shifts that the spec declares.

    Raises:
        SpecError: If one names a distribution that there is not.
    """
    return [
        Shift(
            name,
            distribution=part.distribution
            and named_distribution(
                hypothesis, spec, part.distribution, f"challenge.shifts.{name}.distribution"
            ),
            domain=part.domain,
            template=part.template,
            independent=part.independent,
            resample=part.resample,
        )
        for name, part in spec.challenge.shifts.items()
    ]
