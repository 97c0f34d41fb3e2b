"""Two answers to one conversation, shown without saying who wrote them, to be marked."""

from __future__ import annotations

from collections.abc import Sequence

from quantfarm import ratings
from quantfarm.answers import Answer, Manner
from quantfarm.chat.conversation import ASSISTANT, Conversation
from quantfarm.errors import UsageError
from quantfarm.ratings import Written

#: What marks of chats are kept under, beside those of sets of prompts.
SET = "chat"
ENDED = {"stop": "end of text", "length": "length"}


def as_answer(conversation: Conversation) -> Answer:
    """The answer at its end, to all that was said before. Raises UsageError where there is none, or not all of one."""
    last = conversation.messages[-1] if conversation.messages else None
    if last is None or last.role != ASSISTANT or not (last.writer and last.sampling and last.figures):
        raise UsageError("there is no whole answer to mark")
    figures, sampling = last.figures, last.sampling
    if not figures.ended:
        raise UsageError("the answer was cut off: write it anew to mark it")
    return Answer(
        writer=last.writer,
        manner=Manner(
            n_gen=sampling.max_tokens or 0,
            temperature=sampling.temperature,
            seed=figures.seed or sampling.seed or 0,
            chat=True,
        ),
        prompt=_prompt(conversation),
        text=last.text,
        ended=ENDED.get(figures.ended, figures.ended),
        form=figures.form,
        n=figures.n or 0,
        ttft_s=figures.ttft_s or 0.0,
        tps=figures.tps,
        answered_at=last.at,
    )


def _prompt(conversation: Conversation) -> str:
    """What was given to the model: the first message alone as it was written, so that it is the same prompt as of
    `quantfarm ask`; a longer conversation with who said what."""
    given = conversation.request()[:-1]
    return given[0]["content"] if len(given) == 1 else "\n\n".join(f"{one['role']}: {one['content']}" for one in given)


def blind(first: Conversation, second: Conversation, seed: int, rater: str) -> Sequence[Written]:
    """What is to be marked, in an order that the seed and the rater give: one text where both are the same.

    Raises UsageError where the two did not answer the same.
    """
    answers = [as_answer(first), as_answer(second)]
    if answers[0].prompt != answers[1].prompt:
        raise UsageError("these two did not answer the same: their marks could not be compared")
    return ratings.blind(answers, seed, rater)
