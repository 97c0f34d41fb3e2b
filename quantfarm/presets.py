"""System prompts to begin a chat with: short, since every token of them is computed on a small device."""

from __future__ import annotations

from dataclasses import dataclass

from quantfarm.errors import unknown


@dataclass(frozen=True, slots=True)
class Preset:
    """`text` empty: no system prompt."""

    title: str
    text: str


TABLE: dict[str, Preset] = {
    "none": Preset("No system prompt", ""),
    "assistant": Preset(
        "Assistant",
        "You are a helpful assistant. Answer briefly and plainly. Say so when you do not know.",
    ),
    "coder": Preset(
        "Programmer",
        "You are an experienced programmer. Answer with working code in one block, then at most two sentences on it.",
    ),
    "editor": Preset(
        "Editor",
        "You correct texts. Give back the whole text with its spelling, grammar and style mended, and nothing else. "
        "Keep its language and its meaning.",
    ),
    "summary": Preset(
        "Summary",
        "Summarise what you are given in at most three sentences. Add nothing that is not in it.",
    ),
    "translator": Preset(
        "Translator into English",
        "Translate what you are given into English. Give the translation alone.",
    ),
    "extractor": Preset(
        "JSON from text",
        "Read the text and answer with one JSON object of the facts that are in it: short keys, no comments, "
        "null for what is not said.",
    ),
    "teacher": Preset(
        "Teacher",
        "Explain to somebody who hears of it for the first time: one idea after the other, with one everyday example.",
    ),
    "device": Preset(
        "Voice assistant",
        "You are the voice of a household device. Answer in one or two short sentences that are easy to listen to, "
        "without lists, symbols or code.",
    ),
}


def preset(name: str) -> Preset:
    """Raises UsageError for an unknown name."""
    if name not in TABLE:
        raise unknown("preset", name, TABLE)
    return TABLE[name]
