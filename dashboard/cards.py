"""The model card of a variant, made when somebody asks for it: the same that `quantfarm report` writes."""

from __future__ import annotations

import streamlit as st

from dashboard import store
from quantfarm import profiles
from quantfarm.candidates import Candidate, named
from quantfarm.report.benchmark import subjects_of
from quantfarm.report.card import text
from quantfarm.report.cards import cards
from storage.artifacts import Artifacts
from storage.candidates import candidates


def download(candidate: Candidate) -> None:
    """Nothing for what has no card: simulated devices, and what was never made."""
    if candidate.simulated or not candidate.artifact:
        return
    st.download_button(
        f"Model card of {candidate.variant}",
        lambda: card(candidate),
        f"{candidate.model}-{candidate.variant}.md".replace("/", "-"),
        "text/markdown",
        key=f"card of {candidate.artifact} on {candidate.device}",
        on_click="ignore",
        type="tertiary",
    )


def card(candidate: Candidate) -> str:
    """Of its artifact, on every device that it was measured on."""
    known = profiles.load([profiles.SHIPPED, store.home().root / "device_profiles"])
    everywhere = named(store.ask(candidates, model=candidate.model))
    found = cards(subjects_of(list(known.values()), everywhere), Artifacts(store.home()).all())
    return next(text(one) for one in found.values() if one.sha256 == candidate.artifact)
