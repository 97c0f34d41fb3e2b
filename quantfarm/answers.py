"""An answer: what a variant wrote to a prompt, and how fast. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantfarm.metrics.speed import decode_rate
from quantfarm.nouns import digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who answers: a variant under a runtime on a device. `artifact`: sha256 of its file."""

    device: str
    model: str
    variant: str
    artifact: str
    runtime: str
    build: str

    @property
    def label(self) -> str:
        return f"{self.variant} on {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How is answered: at most `n_gen` tokens; temperature 0 is greedy; `chat`: the model's chat template."""

    n_gen: int = 256
    temperature: float = 0.0
    seed: int = 0
    chat: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`ended`: "end of text" or "length". `ttft_s` and `tps` (None below two tokens) are as a person felt them.

    `form`: how the prompt was given to the model.
    """

    writer: Writer
    manner: Manner
    prompt: str
    text: str
    ended: str
    form: str
    n: int
    ttft_s: float
    tps: float | None
    answered_at: str = ""

    @property
    def id(self) -> str:
        """Of what was written by whom: one rating is of one answer."""
        return digest([self.writer.model, self.writer.variant, self.prompt, self.text])


def question_id(writer: Writer, manner: Manner, prompt: str) -> str:
    """The same artifact, build and manner give the same answer: it need not be asked for twice."""
    kept = [manner.n_gen, manner.temperature, manner.seed, manner.chat]
    return digest([writer.artifact, writer.runtime, writer.build, writer.device, kept, prompt])


def from_events(
    events: Sequence[Mapping[str, Any]], writer: Writer, manner: Manner, prompts: Sequence[str], at: str = ""
) -> list[Answer]:
    """Of the `prompt`, `piece` and `answer` events of a run (docs/events.md), in the order of the prompts."""
    forms: dict[int, str] = {}
    texts: dict[int, str] = {}
    found: list[Answer] = []
    for event in events:
        index = int(event.get("index", -1))
        if event["event"] == "prompt":
            forms[index] = str(event.get("form", ""))
        elif event["event"] == "piece":
            texts[index] = texts.get(index, "") + str(event["text"])
        elif event["event"] == "answer":
            times = event["times"]
            found.append(
                Answer(
                    writer=writer,
                    manner=manner,
                    prompt=prompts[index],
                    text=texts.get(index, ""),
                    ended=str(event["ended"]),
                    form=forms.get(index, ""),
                    n=len(times),
                    ttft_s=(times[0] - event["submit"]) / 1e9,
                    tps=decode_rate(times) if len(times) > 1 else None,
                    answered_at=at,
                )
            )
    return found
