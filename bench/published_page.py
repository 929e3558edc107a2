"""docs/published.md from docs/published.json; bench/published.py makes both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from commutes.stats import show

MODULUS = 59
NAMES = {"mod59_a.pt": "pizza", "mod59_b.pt": "clock"}
"""What the paper found each network to be."""


def page(result: Mapping[str, Any]) -> str:
    """docs/published.md."""
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    gates = result["gates"]
    first, second = (named(row) for row in rows)
    lines = [
        "# Two published networks, and the algorithm that each keeps",
        "",
        f"Made by `{result['command']}`, torch {result['versions']['torch']}; SHA-256 of src/commutes, "
        f"algorithms/modular_addition.py and bench/published.py {result['code']['sha256'][:16]}; seeds "
        f"{result['seeds']}. {result['seconds']:,} s of one core in all; the numbers are in `published.json`.",
        "",
        "The Clock and the Pizza (Zhong, Liu, Tegmark and Andreas 2023, arXiv 2306.17844) trained small "
        "transformers to add modulo 59 and found two algorithms among them. FOLDER holds one network of "
        "either kind, "
        + " and ".join(
            f"`{row['network']}` ({NAMES[row['network']]}, {row['attention']} attention, SHA-256 {row['sha256'][:16]})"
            for row in rows
        )
        + f". Both are right on all inputs: {first} on {rows[0]['right']:,} of {rows[0]['inputs']:,}, {second} on "
        f"{rows[1]['right']:,} of {rows[1]['inputs']:,}, read at the last position.",
        "",
        "## The paper's measures",
        "",
        "Distance irrelevance is the mean, over d, of the standard deviation of the correct logit at a - b = "
        "d, over its standard deviation on all inputs. Gradient symmetricity is the mean cosine of the "
        "gradients of a logit by the two embeddings, over triples (a, b, class); the paper takes 100 triples "
        f"at random, here all {rows[0]['gradient symmetricity']['triples']:,} are taken, and beside the mean "
        "stands where the mean of 100 falls in 95 % of draws.",
        "",
        "| network | distance irrelevance | gradient symmetricity, all triples | means of 100 triples |",
        "|---|--:|--:|---|",
        *(measures(row) for row in rows),
        "",
        "A mean of 100 triples says little of the second network. The number that comes with its file, .297, "
        "lies among such means, and is not the mean over all triples.",
        "",
        "## The rivals",
        "",
        "Both algorithms add along circles, one for each of the network's key frequencies k, w = 2 pi k / 59. "
        "In the pizza the size of the correct logit depends on |cos(w (a - b) / 2)|, the *closeness* of a and "
        "b at k; in the clock it does not. The key frequencies are those of the token embedding before the "
        "steepest fall of its spectrum: "
        + "; ".join(f"{named(row)} {', '.join(map(str, row['frequencies']))}" for row in rows)
        + ", with "
        + " and ".join(show(sum(row["power"])) for row in rows)
        + f" of its power; {doubles(rows[0])} of the first are twice another of it. The correct logit is centred "
        "(the mean over classes is taken away).",
        "",
        f"*The pizza* is supported where the lower bound of R² is above {show(gates['pizza'])} and refuted "
        "where the upper one is below it; *the clock* is supported where the upper bound of R² is below "
        f"{show(gates['clock'])} and refuted where the lower one is above it. The thresholds were set after a "
        "first look at both kinds of evidence on these two networks, and no number is near one. Bounds are "
        "one-sided at .05, of a bootstrap, and brackets are its 95 % intervals.",
        "",
        "### By regression on held-out inputs",
        "",
        "The centred correct logit is regressed on the closeness on half of the inputs, (a, b) and (b, a) on "
        f"the same side, and R² is that of the other half ({rows[0]['regression']['n']:,} inputs, "
        f"{rows[0]['regression']['units']:,} unordered; the unit of the bootstrap). Beside it: ten splits, "
        "least and most; twenty sets of as many other frequencies, mean and most, as a floor; and any "
        "function of the distance of a and b (29 slopes), as a ceiling.",
        "",
        "| network | R², held out | ten splits | other frequencies | any function of the distance |",
        "|---|---|---|---|--:|",
        *(regression(row) for row in rows),
        "",
        "### By interchange",
        "",
        "In `cm.Algorithm` the pizza is total = a + b, closeness (a real vector), and an answer of two "
        f"numbers, the total and the height of its logit. `cm.counterfactuals(pizza, flip={{closeness}}, "
        f"hold={{total}})` draws controlled pairs: the source has the base's total and another closeness, and "
        f"no input is used twice. Both inputs of {rows[0]['interchange'][0]['agreement']['n']:,} pairs are in "
        "the half that was held out. At the residual stream before the MLP, at the last position, coordinates "
        "are taken from the source: *the waves*, the planes of cos(w a) + cos(w b) and sin(w a) + sin(w b), "
        "found by least squares on the other half; the whole site; all but the waves; as many random "
        "directions. *Right*: the answer is the total. *Agreement*, `cm.evaluate`'s, is the share of answers "
        "that are right and whose height is within 1 of the pizza's; *constant* the same of a height that is "
        "always the mean, which is the clock's. An output of real numbers has agreement and no IIA, and what "
        "`cm.evaluate` does not have is an R²: the logits of the edited runs are read from its bench. *By the "
        "source* is the R² of what the pizza expects, with slopes of the clean training half and the source's "
        "closeness; *by the base* the same with the base's, as if nothing had been moved; *slopes anew* "
        "whether the height hangs on the source's closeness in any linear way (two halves, each judged by the "
        "other's slopes). *Moved*: root mean square change of the height. The answer is read at the last "
        "position, so that from the whole site on the run is the source's: that row asks the network about "
        "inputs that have the base's total and the source's closeness, and the others what of the site "
        "carries that.",
        "",
        "| network | from the source | k | right | moved | agreement | constant | by the source | by the base "
        "| slopes anew |",
        "|---|---|--:|--:|--:|---|--:|---|---|---|",
        *(interchange(row, one) for row in rows for one in row["interchange"]),
        "",
        "### What each network keeps",
        "",
        "| network | algorithm | regression | interchange of the waves | interchange of the whole site |",
        "|---|---|---|---|---|",
        *(verdict(row, name) for row in rows for name in ("pizza", "clock")),
        "",
        *words(rows),
        "",
    ]
    return "\n".join(lines)


def named(row: Mapping[str, Any]) -> str:
    """The network by what the paper calls it."""
    return f"the {NAMES[row['network']]} network"


def doubles(row: Mapping[str, Any]) -> str:
    """The key frequencies that are twice another one, as words."""
    twice = {min(2 * k % MODULUS, -2 * k % MODULUS) for k in row["frequencies"]}
    return ", ".join(str(k) for k in row["frequencies"] if k in twice)


def measures(row: Mapping[str, Any]) -> str:
    """A row of the first table."""
    found = row["gradient symmetricity"]
    hundred = f"[{show(found['low'])}, {show(found['high'])}]"
    return f"| {NAMES[row['network']]} | {show(row['distance irrelevance'])} | {show(found['all'])} | {hundred} |"


def bracketed(found: Mapping[str, float]) -> str:
    """R² with its interval."""
    return f"{show(found['r2'])} [{show(found['low'])}, {show(found['high'])}]"


def regression(row: Mapping[str, Any]) -> str:
    """A row of the second table."""
    found = row["regression"]
    splits, others = found["splits"], found["other frequencies"]
    return (
        f"| {NAMES[row['network']]} | {bracketed(found)} | {show(min(splits))} to {show(max(splits))} "
        f"| {show(sum(others) / len(others))}, {show(max(others))} | {show(found['any function of the distance'])} |"
    )


def interchange(row: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    """A row of the third table."""
    agreement = one["agreement"]
    cells = [
        NAMES[row["network"]], one["what"], str(one["k"]), show(one["right"]), f"{one['moved']:.2f}",
        f"{show(agreement['rate'])} [{show(agreement['low'])}, {show(agreement['high'])}]",
        show(one["constant agreement"]),
        *(bracketed(one[name]) for name in ("source", "base", "anew")),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def verdict(row: Mapping[str, Any], name: str) -> str:
    """A row of the fourth table."""
    found = row["answers"][name]
    cells = [NAMES[row["network"]], name, *(found[n] for n in ("regression", "the waves", "the whole site"))]
    return f"| {' | '.join(cells)} |"


def words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to make of it."""
    clock = next(row for row in rows if NAMES[row["network"]] == "clock")
    waves = next(one for one in clock["interchange"] if one["what"] == "the waves")
    pizza = next(row for row in rows if NAMES[row["network"]] == "pizza")
    spared = next(one for one in pizza["interchange"] if one["what"] == "all but the waves")
    rest = next(one for one in clock["interchange"] if one["what"] == "all but the waves")
    return [
        "Each network keeps its own algorithm and refutes the other's, by regression and by the interchange "
        "of all that the last position holds. In the pizza network the waves do it alone: the rest of the "
        f"site moves the height by {spared['moved']:.2f}.",
        "",
        "In the clock network they do not: with the waves of one input and the rest of another "
        f"{show(1 - waves['right'])} of the answers are wrong, with the rest exchanged instead "
        f"{show(1 - rest['right'])}, and how far the correct logit falls hangs on both closenesses. That the "
        "correct logit depends on the closeness as the pizza says is refuted there as well; that it does not "
        "depend on it at all is not supported by half-exchanged states, which no input has. The sum waves are "
        "no variable of the clock, which multiplies.",
    ]
