"""Where else a claim has to hold, in a line: other inputs, other words, longer sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from commutes.alignment import Alignment
from commutes.counterfactuals import Distribution, check_distribution
from commutes.errors import DataError
from commutes.network import Network

_KINDS = ("domain", "template", "network", "alignment", "independent", "resample")
_EXAMPLE = 'cm.Shift("larger numbers", domain={"x": range(20, 30)})'


@dataclass(frozen=True, eq=False)
class Shift:
    """A change under which a claim must hold as it is, without another fit.

    `distribution=` stands alone or beside one of the others; of the others there is one.

    >>> import commutes as cm
    >>> cm.Shift("larger numbers", domain={"x": range(20, 30)})
    Shift('larger numbers': x from other values)
    """

    name: str
    """What the card calls it."""
    _: KW_ONLY
    distribution: str | Distribution | None = None
    """How inputs are drawn; by default as for the claim's own test pairs."""
    domain: Mapping[str, object] | None = None
    """Other values of some inputs, by name, as `Algorithm.inputs(domain=)` takes them. The mechanisms stay: they, and
    the network, must take these values."""
    template: str | Sequence[Mapping[str, str]] | None = None
    """Another prompt of a language model, with the same inputs as slots; answers keep their tokens, and positions
    in words are found anew."""
    network: Network | None = None
    """The same module with another reading of the same inputs."""
    alignment: Alignment | None = None
    """Another algorithm and where its variables live in the same module, such as longer sequences. Where its maps are
    learnt they are the claim's: it is given without maps, or with the claim's own."""
    independent: Sequence[str] = ()
    """Inputs that are drawn independently of all others and of each other, each as common as before."""
    resample: Sequence[str] = ()
    """Inputs that are drawn anew, uniformly over their values, in swaps of what is not computed from them."""

    def __post_init__(self) -> None:
        for field in ("independent", "resample"):
            object.__setattr__(self, field, _names(getattr(self, field), field, self.name))
        if not isinstance(self.name, str) or not self.name.strip():
            raise DataError("a shift has a name", got=repr(self.name), expected="a text", fix=_EXAMPLE)
        given = [kind for kind in _KINDS if getattr(self, kind) not in (None, ())]
        where = f"shift {self.name!r}"
        if len(given) > 1:
            raise DataError(
                "a shift changes one thing",
                where=where,
                got=" and ".join(f"{kind}=" for kind in given),
                expected="one of them, with or without distribution=",
                fix="declare two shifts: each is measured and shown by itself",
            )
        if not given and self.distribution is None:
            raise DataError(
                "the shift says nothing of what is shifted",
                where=where,
                got="a name alone",
                expected=f"distribution=, or one of {', '.join(f'{kind}=' for kind in _KINDS)}",
                fix=f"write {_EXAMPLE}",
            )
        if self.distribution is not None:
            check_distribution(self.distribution, f"{where}, distribution")
        self._check_types(where)

    def _check_types(self, where: str) -> None:
        asked = {
            "domain": (Mapping, 'a mapping from inputs to their values, as in {"x": range(20, 30)}'),
            "network": (Network, "a Network of the claim's own module"),
            "alignment": (Alignment, "an Alignment in the claim's own module"),
        }
        for field, (kind, expected) in asked.items():
            given = getattr(self, field)
            if given is not None and (not isinstance(given, kind) or (field == "domain" and not given)):
                raise DataError(
                    f"this is no {field} to shift to",
                    where=where,
                    got=f"{given!r} ({type(given).__name__})",
                    expected=expected,
                )

    @property
    def kind(self) -> str:
        """What is changed: "distribution", or the one of the others that was given."""
        return next((kind for kind in _KINDS if getattr(self, kind) not in (None, ())), "distribution")

    @property
    def words(self) -> str:
        """The change in words."""
        if self.kind == "domain":
            assert self.domain is not None
            return f"{', '.join(map(str, self.domain))} from other values"
        if self.kind in ("independent", "resample"):
            how = "independent of the others" if self.kind == "independent" else "drawn anew"
            return f"{', '.join(getattr(self, self.kind))} {how}"
        if self.kind == "distribution":
            named = self.distribution
            return named.name if isinstance(named, Distribution) else f"inputs drawn by {named!r}"
        return {"template": "another template", "network": "read in another way"}.get(
            self.kind, "another algorithm in the same module"
        )

    def __repr__(self) -> str:
        return f"Shift({self.name!r}: {self.words})"


def _names(given: object, field: str, shift: str) -> tuple[str, ...]:
    listed = [given] if isinstance(given, str) else given
    if isinstance(listed, Sequence) and all(isinstance(name, str) for name in listed):
        return tuple(dict.fromkeys(listed))
    raise DataError(
        f"{field}= names inputs",
        where=f"shift {shift!r}",
        got=repr(given),
        expected="a list of names of inputs",
        fix=f'write {field}=["x"]',
    )
