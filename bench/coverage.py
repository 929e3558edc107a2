"""Coverage of the intervals and error of the gates by simulation; writes docs/coverage.md.

Each pair hits when mu + effect of its base + effect of its source + noise > 0, all normal with total variance
1, so that the truth, the probability over the population that inputs are drawn from, is Phi(mu). Effects are
drawn anew in every repetition. Where the same inputs play both roles an input has one effect, whichever role
it has.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtri

import commutes.stats
from commutes.stats import clopper_pearson, dyadic_variance, rate, wilson
from commutes.stats._binomial import score_bound, t_quantile
from commutes.stats._checks import BoolArray, IntArray
from commutes.stats._dyadic import Sharing

ROOT = Path(__file__).resolve().parent.parent
SEED = 20_260
REPETITIONS = 2_000


@dataclass(frozen=True)
class Design:
    """How pairs are made of inputs."""

    key: str
    words: str
    inputs: int
    """Inputs per role."""
    pairs: Callable[[np.random.Generator], tuple[IntArray, IntArray]]
    common: bool = False
    """The same inputs as bases and as sources, with an effect common to both roles."""


def _all(count: int) -> Callable[[np.random.Generator], tuple[IntArray, IntArray]]:
    base, source = np.divmod(np.arange(count * count), count)
    return lambda rng: (base, source)


def _sampled(n: int, count: int) -> Callable[[np.random.Generator], tuple[IntArray, IntArray]]:
    return lambda rng: (rng.integers(0, count, n), rng.integers(0, count, n))


def _distinct(count: int) -> Callable[[np.random.Generator], tuple[IntArray, IntArray]]:
    base, source = np.divmod(np.arange(count * count), count)
    keep = base != source
    return lambda rng: (base[keep], source[keep])


def _disjoint(n: int) -> Callable[[np.random.Generator], tuple[IntArray, IntArray]]:
    return lambda rng: (np.arange(n), np.arange(n))


DESIGNS = (
    Design("50 x 50", "all pairs of 50 bases and 50 sources", 50, _all(50)),
    Design("1,000 sampled", "1,000 pairs drawn from 50 bases and 50 sources", 50, _sampled(1_000, 50)),
    Design("2,000 sampled", "2,000 pairs drawn from 50 bases and 50 sources", 50, _sampled(2_000, 50)),
    Design("20 x 20", "all pairs of 20 bases and 20 sources", 20, _all(20)),
    Design("disjoint", "1,000 pairs of 2,000 inputs", 1_000, _disjoint(1_000)),
    Design(
        "same inputs",
        "all ordered pairs of two of 50 inputs, effect common to both roles",
        50,
        _distinct(50),
        True,
    ),
)


@dataclass(frozen=True)
class Row:
    """What happened to one design over all repetitions; shares of the repetitions, and means."""

    covered: float
    above: float
    """The interval lies above the truth."""
    below: float
    width: float
    wilson: float
    """Coverage of a plain Wilson interval."""
    roles_apart: float
    """Coverage of the same interval when an input counts as another one in another role."""
    lower_wrong: float
    """The gate's lower bound lies above the truth."""
    upper_wrong: float
    lower: float
    """Mean of the gate's lower bound."""
    plain: float
    """Mean of the same bound before it was made monotone."""
    upper: float
    """Mean of the gate's upper bound."""
    plain_upper: float


def plain_bound(hits: BoolArray, members: IntArray, alpha: float = 0.05) -> float:
    """The gate's lower bound as it would be if one more miss were allowed to raise it."""
    sharing = Sharing.of(members)
    n, total, cover = len(hits), int(hits.sum()), sharing.cover
    if sharing.disjoint:
        return clopper_pearson(total, n, alpha=alpha)[0]
    bound = min(clopper_pearson(total, n, alpha=alpha)[0], clopper_pearson(cover, cover, alpha=alpha)[0])
    if total in (0, n) or cover < 2:
        return bound if cover > 1 else 0.0
    share = total / n
    variance = max(cover / (cover - 1) * dyadic_variance(hits, members), share * (1 - share) / n)
    effective = share * (1 - share) / variance
    quantile = t_quantile(1 - alpha, cover - 1)
    return min(bound, float(score_bound(max(share - 0.5 / effective, 0.0), effective, quantile)))


def draw(
    design: Design, truth: float, effects: tuple[float, float], rng: np.random.Generator
) -> tuple[BoolArray, IntArray, IntArray]:
    """One sample: hits, members, and members with the roles kept apart."""
    base, source = design.pairs(rng)
    of_base = rng.normal(size=design.inputs) * math.sqrt(effects[0])
    of_source = of_base if design.common else rng.normal(size=design.inputs) * math.sqrt(effects[1])
    noise = rng.normal(size=len(base)) * math.sqrt(1 - sum(effects))
    hits = float(ndtri(truth)) + of_base[base] + of_source[source] + noise > 0
    apart = np.stack([base, source + design.inputs], axis=1)
    return hits, np.stack([base, source], axis=1) if design.common else apart, apart


def simulate(
    design: Design, truth: float, effects: tuple[float, float], *, repetitions: int, seed: int
) -> Row:
    """Draw `repetitions` samples of `design` and see which intervals hold `truth`."""
    rng = np.random.default_rng([seed, DESIGNS.index(design)])
    rows = np.empty((repetitions, 12))
    for i in range(repetitions):
        hits, members, apart = draw(design, truth, effects, rng)
        result = rate(hits, members)
        simple = wilson(result.hits, result.n)
        other = rate(hits, apart) if design.common else result
        rows[i] = (
            result.low <= truth <= result.high,
            result.low > truth,
            result.high < truth,
            result.high - result.low,
            simple[0] <= truth <= simple[1],
            other.low <= truth <= other.high,
            result.lower > truth,
            result.upper < truth,
            result.lower,
            plain_bound(hits, members),
            result.upper,
            1 - plain_bound(~hits, members),
        )
    return Row(*(float(mean) for mean in rows.mean(axis=0)))


SETTINGS: tuple[tuple[str, float, tuple[float, float]], ...] = (
    ("Rate .90; base and source effects a quarter of the variance each", 0.90, (0.25, 0.25)),
    ("Rate .70; base and source effects a quarter each", 0.70, (0.25, 0.25)),
    ("Rate .97; base and source effects a quarter each", 0.97, (0.25, 0.25)),
    ("Rate .90; weak effects, a twentieth each", 0.90, (0.05, 0.05)),
    ("Rate .90; no effects, independent pairs", 0.90, (0.0, 0.0)),
    ("Rate .90; one role carries half of the variance, the other nothing", 0.90, (0.5, 0.0)),
    ("Rate .97; one role carries half of the variance, the other nothing", 0.97, (0.5, 0.0)),
)


def code_hash() -> str:
    """SHA-256 over the files that make a rate, 16 digits."""
    digest = hashlib.sha256()
    for name in ("_binomial.py", "_checks.py", "_dyadic.py", "_rate.py"):
        path = Path(commutes.stats.__file__).parent / name
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cell(value: float) -> str:
    """Three digits, as in the stored table."""
    return f"{value:.3f}"


def table_row(design: Design, row: Row) -> str:
    """One line of the stored table."""
    figures = (
        row.covered, row.above, row.below, row.width, row.wilson, row.roles_apart,
        row.lower_wrong, row.upper_wrong, row.lower, row.plain, row.upper, row.plain_upper,
    )  # fmt: skip
    return " | ".join([f"| {design.key}", *(cell(value) for value in figures)]) + " |"


LEGEND = """\
- *covered*: the two-sided 95 % interval holds the truth (*above*, *below*: where it lies when it does not);
  *width*: its mean width.
- *plain Wilson*: coverage of Wilson's interval, which takes the pairs for independent.
- *roles apart*: coverage of the same interval if an input counted as another one in its other role (two-way
  clustering); differs in the last design only.
- *lower > truth*, *upper < truth*: how often a gate's one-sided bound is wrong; nominal .05. It is .000 where
  the truth lies beyond the exact bound of G of G, which no lower bound exceeds.
- *mean lower*, *mean upper*: means of the gate's bounds; *plain lower*, *plain upper*: of the same bounds
  where one more miss may raise them; the difference is what the guarantee costs.
"""

HEADER = (
    "| design | covered | above | below | width | plain Wilson | roles apart "
    "| lower > truth | upper < truth | mean lower | plain lower | mean upper | plain upper |\n"
    "|---|" + "--:|" * 12
)


def page(repetitions: int, seed: int, command: str) -> str:
    """The whole page."""
    error = math.sqrt(0.95 * 0.05 / repetitions)
    lines = [
        "# Coverage of the intervals",
        "",
        f"Made by `{command}`; numpy {np.__version__}, hash of the code of `rate` {code_hash()}.",
        f"{repetitions:,} repetitions per row, seed {seed} (`default_rng([seed, number of the design])`).",
        f"Monte-Carlo standard error of a share: {error:.4f} at .95, "
        f"{math.sqrt(0.25 / repetitions):.4f} at .50.",
        "",
        *(__doc__ or "").split("\n\n", 1)[1].strip().splitlines(),
        "",
        "The designs:",
        "",
        *(f"- **{design.key}**: {design.words}" for design in DESIGNS),
        "",
        *LEGEND.splitlines(),
    ]
    for words, truth, effects in SETTINGS:
        lines += ["", f"## {words}", "", HEADER]
        for design in DESIGNS:
            if design.common and effects[0] != effects[1]:
                # An effect that is common to both roles cannot belong to one of them.
                continue
            row = simulate(design, truth, effects, repetitions=repetitions, seed=seed)
            lines.append(table_row(design, row))
            print(words, lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/coverage.md.")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "coverage.md")
    given = parser.parse_args()
    started = time.perf_counter()
    command = f"python bench/coverage.py --repetitions {given.repetitions} --seed {given.seed}"
    text = page(given.repetitions, given.seed, command)
    given.output.write_text(text, encoding="utf-8")
    print(f"{given.output}: {time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
