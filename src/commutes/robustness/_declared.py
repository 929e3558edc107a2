"""What is declared beside a claim, looked at before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.errors import AlignmentError, DataError, NetworkError, similar
from commutes.evaluation import answers_of
from commutes.network import Network


def check_variants(variants: Mapping[str, Alignment], test: Counterfactuals) -> None:
    """Refuse alignments that these pairs cannot be measured through.

    Raises:
        AlignmentError: Not an alignment, not fitted, or of another algorithm.
        DataError: It was fitted or chosen on these inputs.
    """
    for name, variant in variants.items():
        if not isinstance(variant, Alignment):
            raise AlignmentError(
                "a variant is an alignment",
                where=f"variants={{{name!r}: ...}}",
                got=type(variant).__name__,
                expected="the claim at another position or under another template, fitted",
            )
        variant.featurizers  # noqa: B018 - refuses an unfitted one
        variant.masks(test)
        used = np.union1d(variant.fitted_ids, variant.selected_ids)
        seen = int(np.isin(test.input_ids, used).sum())
        if seen and not test.complete:
            raise DataError(
                "a variant was fitted or chosen on these inputs",
                where=f"variants={{{name!r}: ...}}",
                got=f"{seen:,} of {len(test.input_ids):,} test inputs were seen",
                expected="inputs that neither its fit nor its selection has seen",
                fix="fit it on the same parts as the claim",
            )


def check_networks(alignment: Alignment, networks: Sequence[Network]) -> None:
    """Refuse networks that the claim cannot be fitted on, or that are one and the same.

    Raises:
        NetworkError: Not a network, the claim's own or one that is there twice, or one that cannot answer what the
            algorithm expects.
        AlignmentError: It lacks the claim's sites.
    """
    names = {alignment.network.fingerprint: "the claim's own network"}
    for number, network in enumerate(networks, start=1):
        where = f"networks=, number {number}"
        if not isinstance(network, Network):
            raise NetworkError(
                "networks= lists networks",
                where=where,
                got=type(network).__name__,
                expected="a Network that was trained for the same task",
            )
        if network.fingerprint in names:
            raise NetworkError(
                "a network that computes the very same is no other network",
                where=where,
                got=names[network.fingerprint],
                expected="networks that were trained independently of the claim's and of each other",
                fix="train it from another seed",
            )
        names[network.fingerprint] = f"the network of {where} once more"
        answers_of(network, alignment.algorithm)
        paths = dict(network.module.named_modules())
        needed = [moment.path for site in alignment.sites for moment in site.moments]
        missing = next((path for path in needed if path not in paths), None)
        if missing is not None:
            near = similar(missing, paths)
            raise AlignmentError(
                "the claim's site is not there in another network",
                where=where,
                got=f"no module {missing!r}" + (f", but {near!r}" if near else ""),
                expected="a module of the same path in every network",
                fix="make the networks from one class",
            )
        alignment.on(network)
