"""Sets of prompts that variants are compared by: short, each probing one thing a small model is used for."""

from __future__ import annotations

from dataclasses import dataclass

from quantfarm.errors import unknown

LETTER = (
    "Dear tenants, the water in the house at 14 Mill Lane will be turned off on Thursday 12 March from 8 in the "
    "morning until about 1 in the afternoon, because the pipes in the cellar are replaced. Please fill a few bottles "
    "the evening before, and keep taps closed while the water is off: when it comes back there may be air in the "
    "pipes, and an open tap can flood a kitchen. Tenants on the third floor may have no hot water until the evening, "
    "since the boiler has to be filled again. If your tap still runs brown after ten minutes, call Mr Okafor in the "
    "office on the ground floor; he is there until six. The lift is not affected. The laundry room stays closed all "
    "day. We are sorry for the trouble. The house office."
)


@dataclass(frozen=True, slots=True)
class Probe:
    """`probes`: what the answer is looked at for."""

    probes: str
    prompt: str


EDGE_TEN = (
    Probe(
        "following instructions",
        "Name three things that one packs for a day at the beach. Answer with exactly three lines, one thing in each, "
        "and no other words.",
    ),
    Probe(
        "arithmetic",
        "A ticket costs 7 euros, and children pay half. What do two adults and three children pay together? Show the "
        "steps in one short line, then the result.",
    ),
    Probe(
        "code",
        "Write a Python function `count_vowels(text)` that returns how many of the letters a, e, i, o and u a text "
        "holds, whether large or small. Only the function, without an explanation.",
    ),
    Probe(
        "summarising",
        "Say in one sentence what this means for somebody who lives there: The bakery on the corner closes for good "
        "on Saturday. Its owner retires after forty years, no one was found to take it over, and the shop will become "
        "an office.",
    ),
    Probe(
        "extraction",
        'Give the sender, the date and the amount as JSON with the keys "sender", "date" and "amount": "Invoice of '
        'Lindgren Tools, issued on 3 May 2025. Please transfer 248.50 euros within fourteen days."',
    ),
    Probe(
        "reasoning",
        "Anna is taller than Ben. Ben is taller than Carla. Dora is shorter than Carla. Who is the second tallest? "
        "Give the name, and one sentence that says why.",
    ),
    Probe(
        "translation",
        'Translate into German: "The train leaves ten minutes late today, so we still have time for a coffee."',
    ),
    Probe(
        "a plain fact",
        "Why is it colder on a high mountain than in the valley, although the top is nearer to the sun? Answer in two "
        "sentences.",
    ),
    Probe(
        "style",
        "Decline an invitation to a colleague's birthday party on Friday: warm, in at most forty words, and without "
        "an invented excuse.",
    ),
    Probe(
        "a longer context",
        f"Read the notice, then answer: Until when might somebody on the third floor wait for hot water, and why? "
        f"Answer in one sentence.\n\n{LETTER}",
    ),
)
SETS = {"edge-ten": EDGE_TEN}


def probes(name: str) -> tuple[Probe, ...]:
    """Raises UsageError for an unknown set."""
    if name not in SETS:
        raise unknown("set of prompts", name, SETS)
    return SETS[name]


def prompt_set(name: str) -> list[str]:
    """The prompts of a set, in its order. Raises UsageError for an unknown set."""
    return [probe.prompt for probe in probes(name)]
