"""The catalogue of checks: what each asks, what it decides, what it costs and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "FAMILIES", "CatalogueEntry"]


@dataclass(frozen=True)
class CatalogueEntry:
    """One check, whether or not it is ever run."""

    id: str
    """Family and number: "A2"."""
    name: str
    question: str
    """What the check asks, in one sentence."""
    level: str | None
    """The level that it gates; None for a diagnostic or a floor, which never gate."""
    gate: str
    """When it passes, in words."""
    cost: str
    """What it takes, in words."""
    effort: int
    """Forward passes per measured pair, by order of magnitude; for comparing checks only."""
    references: tuple[str, ...]

    @property
    def family(self) -> str:
        """The family's title."""
        return FAMILIES[self.id[0]]

    @property
    def diagnostic(self) -> bool:
        """Whether the check is reported without ever deciding a level."""
        return self.level is None


FAMILIES: dict[str, str] = {
    "A": "Is the number real?",
    "B": "Better than nothing?",
    "C": "Specific, minimal, complete?",
    "D": "The mechanism that the network uses?",
    "E": "Does it travel, and is it the only one?",
}

_ABSTRACTIONS = "Causal Abstractions of Neural Networks, arXiv:2106.02997"
_DAS = "Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations, " \
    "arXiv:2303.02536"  # fmt: skip
_DILEMMA = "The Non-Linear Representation Dilemma: Is Causal Abstraction Enough for Mechanistic " \
    "Interpretability?, arXiv:2507.08802"  # fmt: skip
_FOUNDATION = (
    "Causal Abstraction: A Theoretical Foundation for Mechanistic Interpretability, arXiv:2301.04709"
)
_CONTROL = "Designing and Interpreting Probes with Control Tasks, arXiv:1909.03368"
_SANITY = "Sanity Checks for Saliency Maps, arXiv:1810.03292"
_ILLUSION = "Is This the Subspace You Are Looking for? An Interpretability Illusion for Subspace " \
    "Activation Patching, arXiv:2311.17030"  # fmt: skip
_REPLY = 'A Reply to Makelov et al. (2023)\'s "Interpretability Illusion" Arguments, arXiv:2401.12631'
_RAVEL = "RAVEL: Evaluating Interpretability Methods on Disentangling Language Model Representations, " \
    "arXiv:2402.17700"  # fmt: skip
_CIRCUITS = "Hypothesis Testing the Circuit Hypothesis in LLMs, arXiv:2410.13032"
_PATCHING = "Towards Best Practices of Activation Patching in Language Models: Metrics and Methods, " \
    "arXiv:2309.16042"  # fmt: skip
_HYDRA = "The Hydra Effect: Emergent Self-repair in Language Model Computations, arXiv:2307.15771"
_LOCALISE = "Does Localization Inform Editing? Surprising Differences in Causality-Based Localization vs. " \
    "Knowledge Editing in Language Models, arXiv:2301.04213"  # fmt: skip
_MIXTURE = "Combining Causal Models for More Accurate Abstractions of Neural Networks, arXiv:2503.11429"
_IDENTIFIABLE = "Everything, Everywhere, All at Once: Is Mechanistic Interpretability Identifiable?, " \
    "arXiv:2502.20914"  # fmt: skip
_APPROXIMATE = "Approximate Causal Abstraction, arXiv:1906.11583"
_AMNESIC = "Amnesic Probing: Behavioral Explanation with Amnesic Counterfactuals, arXiv:2006.00995"
_PROBING = "Probing the Probing Paradigm: Does Probing Accuracy Entail Task Relevance?, arXiv:2005.00719"
_AXBENCH = "AxBench: Steering LLMs? Even Simple Baselines Outperform Sparse Autoencoders, arXiv:2501.17148"
_LABELS = "Understanding Deep Learning Requires Rethinking Generalization, arXiv:1611.03530"
_SHORTCUT = "Shortcut Learning in Deep Neural Networks, arXiv:2004.07780"
_UNDERSPECIFIED = "Underspecification Presents Challenges for Credibility in Modern Machine Learning, " \
    "arXiv:2011.03395"  # fmt: skip
_CHECKLIST = "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList, arXiv:2005.04118"
_LEACE = "LEACE: Perfect Linear Concept Erasure in Closed Form, arXiv:2306.03819"
_GROKKING = "Progress Measures for Grokking via Mechanistic Interpretability, arXiv:2301.05217"

_ONCE = "one pass for each measured pair"
_REFIT = "at least five refits, batched"

CATALOGUE: tuple[CatalogueEntry, ...] = (
    CatalogueEntry(
        "A1", "behaviour", "Does the network answer as the algorithm does before anything is swapped?", "R1",
        "lower bound of the accuracy at least the declared floor", "one pass for each distinct input", 1,
        (_ABSTRACTIONS,),
    ),
    CatalogueEntry(
        "A2", "stratified IIA", "Does a swap give the expected answer in every stratum, and not only on the "
        "mean?", "R2", "lower bound of the worst cell at least the target; vacuous where the data cannot "
        "exclude a trivial rival", "six passes for each measured pair: its swap and "
        "five random subspaces", 2, (_ABSTRACTIONS, _DAS),
    ),
    CatalogueEntry(
        "A3", "adequacy of the data", "Could these pairs tell the claim from each of its rivals?", "R1",
        "for every rival at least 20 % and at least 59 of the pairs expect another answer", "none", 0,
        (_IDENTIFIABLE,),
    ),
    CatalogueEntry(
        "A4", "margin recovery", "Does a swap move the margin between the answers as far as a natural "
        "input does?", "R3", "upper bound of the share outside [.8, 1.25] below .1",
        "at most three passes for each effective pair, one for each placebo pair", 3, (_PATCHING,),
    ),
    CatalogueEntry(
        "A5", "map capacity", "Is the map too powerful, so that it would align anything?", "R2",
        "upper bound of the null of the claimed family below .6 of the way from the floor to 1",
        "none beyond B1", 20_000, (_DILEMMA,),
    ),
    CatalogueEntry(
        "A6", "held-out inputs", "Does it hold on inputs that no fit has seen?", "R2",
        "upper bound of the gap between fitted and held-out inputs below .05",
        "one pass for each measured pair at most, on fitted inputs", 2, (_DAS,),
    ),
    CatalogueEntry(
        "A7", "multiverse", "Does the verdict survive other defensible metrics, replacements and positions?",
        "R4", "at least .9 of at least six combinations keep the verdict", "one pass for each pair and "
        "replacement, and the clean inputs", 12, (_PATCHING,),
    ),
    CatalogueEntry(
        "A8", "dose", "Does the answer turn once, and where, as the swap grows from nothing to its full "
        "length?", None, "diagnostic", "six passes for each pair", 6, (_PATCHING,),
    ),
    CatalogueEntry(
        "A9", "reach", "Does the edit move what the reader reads at all?", "R2",
        "effective pairs move further than placebo pairs; where they do not, a null result is vacuous",
        "none beyond A2", 2, (_DAS,),
    ),
    CatalogueEntry(
        "B1", "untrained network", "What does the same fitting procedure reach on a network that was never "
        "trained?", "R2", "lower bound of the gap above .2 and upper bound of the null below the target",
        _REFIT, 5_000, (_SANITY, _DILEMMA),
    ),
    CatalogueEntry(
        "B2", "control task", "Could the same procedure have fitted a random function of the same inputs?",
        "R2", "lower bound of the selectivity against the worst of at least three controls above .2",
        "at least three "
        "refits for each variable, batched", 5_000, (_CONTROL,),
    ),
    CatalogueEntry(
        "B3", "random subspace, other sites", "What do random coordinates of the same size reach, here and "
        "elsewhere?", None, "a floor only", _ONCE, 2, (_DAS,),
    ),
    CatalogueEntry(
        "B4", "simpler methods", "Would a difference of means, a probe or the whole vector have done as "
        "well?", None, "diagnostic", "closed forms and one pass for each pair", 8, (_AXBENCH,),
    ),
    CatalogueEntry(
        "B5", "permuted labels", "What is reached on a network trained on shuffled answers?", None,
        "diagnostic", "trainings and refits", 50_000, (_LABELS,),
    ),
    CatalogueEntry(
        "B6", "methods agree", "Do methods with different assumptions find the same place?", None,
        "diagnostic", "one fit for each method", 3_000, (_DAS, _LEACE),
    ),
    CatalogueEntry(
        "C1", "cause and isolation", "Does each variable's place change what it should, and nothing else?",
        "R3", "lower bound of the smaller of cause and isolation at least the target", "none beyond A2", 2,
        (_RAVEL,),
    ),
    CatalogueEntry(
        "C2", "joint interventions", "Does it hold when several variables are swapped at once, each from its "
        "own source?", "R3", "lower bound of the worst subset at least the target", "one pass for each pair "
        "of a subset and each of its inputs", 4, (_ABSTRACTIONS, _FOUNDATION),
    ),
    CatalogueEntry(
        "C3", "strictness", "Does what lies outside the alignment leave the answer alone?", "R3",
        "lower bound of the joint resampling at least .95",
        "three passes for each input, and one for each outside unit of a sample", 10,
        (_ABSTRACTIONS,),
    ),
    CatalogueEntry(
        "C4", "smallest size", "Would a smaller subspace do as well?", None, "diagnostic",
        "one refit for each size", 4_000, (_DAS,),
    ),
    CatalogueEntry(
        "C5", "equivalence, independence, minimality", "Is the place sufficient, alone and without excess?",
        None, "diagnostic", "several passes for each pair", 8, (_CIRCUITS,),
    ),
    CatalogueEntry(
        "C6", "causal scrubbing", "Does resampling among inputs that the algorithm holds equal change any "
        "answer, input by input?", None, "diagnostic", "several passes for each input", 8, (_CIRCUITS,),
    ),
    CatalogueEntry(
        "C7", "redundancy", "Is the variable also kept, and read, somewhere else?", None, "diagnostic",
        "a probe for each place, at most four passes for each pair where it reads", 30, (_HYDRA,),
    ),
    CatalogueEntry(
        "C8", "necessity", "Does randomising the place cost exactly what the algorithm says it should?", "R3",
        "equivalence to the algorithm's prediction within .1, beside random coordinates of the same size",
        "two passes for each base and variable", 3, (_AMNESIC,),
    ),
    CatalogueEntry(
        "C9", "off task", "Is behaviour that the claim says nothing about left as it was?", "R4",
        "upper bound of the damage at most what was declared",
        "one pass for each off-task input, and one for each set that is swapped", 3,
        (_RAVEL,),
    ),
    CatalogueEntry(
        "D1", "row space and null space", "Does the effect come from the part that the next layer reads?",
        "R3", "lower bound of what the unread part adds not above .2; vacuous in a residual stream",
        "two passes for each effective pair", 3, (_ILLUSION, _REPLY),
    ),
    CatalogueEntry(
        "D2", "whole component", "Is the subspace's effect no larger than that of the component that holds "
        "it?", "R3", "ratio at most 1.1 on controlled pairs",
        "two passes for each controlled pair, and its clean inputs", 3, (_ILLUSION,),
    ),
    CatalogueEntry(
        "D3", "natural in read space", "Do the readers see edited states as they see natural ones?", "R3",
        "excess share below .05", "one pass for each fitted input", 2, (_REPLY,),
    ),
    CatalogueEntry(
        "D4", "agreement under upstream perturbation", "When something upstream changes, does the network "
        "follow what its variables then say?", "R3", "lower bound where the decoded value changed at least "
        ".9 of clean agreement; vacuous under redundancy",
        "at most 4,096 perturbed runs, and the clean inputs", 10,
        (_FOUNDATION,),
    ),
    CatalogueEntry(
        "D5", "overlap with natural variance", "Does the subspace lie where natural activations vary?", None,
        "diagnostic", "none beyond A1", 1, (_ILLUSION,),
    ),
    CatalogueEntry(
        "D6", "probe and patch", "Is what can be decoded there also what is used?", "R3",
        "upper bound of decodability minus IIA below .2", "one probe, one pass for each fitted input", 2,
        (_PROBING,),
    ),
    CatalogueEntry(
        "D7", "edited where localised", "Do edits work best where the variable was localised?", None,
        "diagnostic", "one edit for each site", 3_000, (_LOCALISE,),
    ),
    CatalogueEntry(
        "D8", "read, steer, erase", "Does the place read, steer and erase the variable, each on its own?",
        None, "diagnostic", "three passes for each pair", 4, (_AXBENCH, _LEACE),
    ),
    CatalogueEntry(
        "E1", "shifts", "Does it hold when the inputs shift, and is it the network or the alignment that "
        "fails?", "R4", "the worst of at least two declared shifts", "three passes for each pair and shift",
        4,
        (_SHORTCUT,),
    ),
    CatalogueEntry(
        "E2", "counterexamples", "How often does it fail, and can a search find a failure that replays?",
        "R4", "upper bound of the random rate below one minus the target",
        "at most 100,000 pairs beside as many random ones as were measured", 50,
        (_CHECKLIST,),
    ),
    CatalogueEntry(
        "E3", "fitting seeds", "Do other fits find the same variable, so that one edits and another reads?",
        "R4", "lower bound of the cross-swap at least .9 over at least five refits",
        "at least five refits, and a pass for each effective pair and two fits", 5_000,
        (_UNDERSPECIFIED,),
    ),
    CatalogueEntry(
        "E4", "network seeds", "Does the whole procedure succeed on other trained networks?", "R5",
        "the declared share of at least three networks", "the whole procedure for each network", 100_000,
        (_UNDERSPECIFIED,),
    ),
    CatalogueEntry(
        "E5", "rival algorithms", "Does another algorithm with the same behaviour align as well?", "R5",
        "lower bound of the gap to at least one rival that is not entailed above .1; no finer survivor",
        "one fit for each rival", 4_000, (_DILEMMA, _IDENTIFIABLE),
    ),
    CatalogueEntry(
        "E6", "mixtures", "Which inputs does the algorithm explain, and how many are left?", None,
        "diagnostic", _ONCE, 3, (_MIXTURE,),
    ),
    CatalogueEntry(
        "E7", "checkpoints", "When in training does the alignment appear, beside the behaviour?", None,
        "diagnostic", "one fit for each checkpoint", 10_000, (_GROKKING,),
    ),
    CatalogueEntry(
        "E8", "abstraction error", "How large is the error over interventions, in the mean and at worst?",
        None, "diagnostic", "none beyond A2", 2, (_APPROXIMATE, _FOUNDATION),
    ),
)  # fmt: skip
