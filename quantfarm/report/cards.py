"""Model cards: one for each variant of each model that was measured, with everything that is known of it.

A card is of one artifact (a file, or a folder of files) wherever it was measured. Simulated devices are in none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from quantfarm.candidates import Candidate
from quantfarm.nouns import Artifact, Variant
from quantfarm.report.sections import Subject
from quantfarm.report.slugs import slug
from quantfarm.statistics.increase import UNQUANTIZED


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The variant on one device under one runtime, among the others there."""

    subject: Subject
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """`artifact` None: its record is not in this store, and its recipe not known."""

    model: str
    variant: str
    sha256: str
    entries: tuple[Entry, ...]
    artifact: Artifact | None = None

    @property
    def first(self) -> Candidate:
        return self.entries[0].candidate

    @property
    def quantized(self) -> bool:
        return self.variant not in UNQUANTIZED

    @property
    def hub(self) -> tuple[str, str] | None:
        """(id, commit) of the model on a hub that it was made from; None where it is from no hub."""
        source = self.artifact.recipe.source if self.artifact else ""
        found = re.fullmatch(r"hub:(?P<id>[^@]+)@(?P<commit>.+)", source)
        return (found["id"], found["commit"]) if found else None


def cards(subjects: Sequence[Subject], artifacts: Sequence[Artifact]) -> dict[str, Card]:
    """Path (`MODEL/VARIANT.md`) -> card, by path. Where two artifacts share a name, their sha256 tells them apart."""
    groups: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for s in subjects:
        for c in s.candidates:
            if c.artifact and not s.simulated and c.figures:
                groups[c.model, c.variant, c.artifact].append(Entry(subject=s, candidate=c))
    made = [
        Card(model=model, variant=variant, sha256=sha256, entries=tuple(entries), artifact=_of(artifacts, entries[0]))
        for (model, variant, sha256), entries in groups.items()
    ]
    names = Counter(_name(card).lower() for card in made)
    paths = {(_name(one) + (f"-{one.sha256[:8]}" if names[_name(one).lower()] > 1 else "")): one for one in made}
    return {f"{path}.md": paths[path] for path in sorted(paths)}


def _name(card: Card) -> str:
    return f"{slug(card.model)}/{re.sub(r'[^A-Za-z0-9._+=-]+', '-', card.variant)}"


def _of(artifacts: Sequence[Artifact], entry: Entry) -> Artifact | None:
    """Of recipes that made the same content the one that is called like the variant."""
    same = [one for one in artifacts if one.sha256 == entry.candidate.artifact]
    called = [one for one in same if name_of(one) == entry.candidate.variant]
    return next(iter(called or same), None)


def name_of(artifact: Artifact) -> str:
    """As the variant that it is would be called."""
    return Variant(model="", format="", quant=artifact.recipe.quant, recipe=artifact.recipe).name
