"""What can be looked at: one file and one line each. A view is a script that Streamlit runs on every interaction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class View:
    """`question`: what it answers, under its title. `group`: its heading in the list of views."""

    title: str
    question: str
    group: str


#: Name of the file (and of the address) -> what it is. The order of the list of views.
TABLE = {
    "overview": View("Overview", "What should each device run, and is all well?", "Decide"),
    "frontier": View("Frontier", "Which variants are worth considering on this device?", "Decide"),
    "quality": View("Quality", "What does each quantization cost, and where is the cliff?", "Decide"),
    "compare": View("Compare", "Is the one better than the other?", "Decide"),
    "history": View("History", "Did anything change over the nights?", "Trust"),
    "thermal": View("Thermal", "How fast is it once it is warm?", "Trust"),
    "cell": View("Cell", "What happened in this measurement?", "Trust"),
    "devices": View("Devices", "Which devices are there, and how are they?", "Trust"),
    "playground": View("Playground", "How does it feel to talk to it?", "Try"),
}


def path(name: str) -> Path:
    return FOLDER / f"{name}.py"
