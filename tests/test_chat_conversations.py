"""Conversations: what can be done to one, how it is kept, exported and judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantfarm import presets, ratings
from quantfarm.answers import Writer
from quantfarm.chat import pairs
from quantfarm.chat.conversation import Conversation, answered, edited, said, without_answer
from quantfarm.chat.export import NoConversation, from_json, to_json, to_markdown
from quantfarm.chat.figures import Figures
from quantfarm.chat.sampling import Sampling
from quantfarm.errors import UsageError
from storage import conversations
from storage import ratings as kept
from storage.home import Home

FIGURES = Figures(ttft_s=0.035, tps=41.0, n=12, n_prompt=9, ended="stop", form="chat template", seed=7)
STRANGE = "<script>alert(1)</script> & ☃ # *x* `y` " + "long " * 40


def writer(variant: str) -> Writer:
    return Writer(device="local", model="m", variant=variant, artifact=variant, runtime="llama_cpp", build="b 1")


def talk(*texts: str, variant: str = "Q4_0", system: str = "") -> Conversation:
    """Turns: what the user says, then what is answered, and so on."""
    one = Conversation(system=system)
    for i, text in enumerate(texts):
        answer = {"writer": writer(variant), "sampling": Sampling(), "figures": FIGURES}
        one = answered(one, text, **answer) if i % 2 else said(one, text)  # pyright: ignore[reportArgumentType]
    return one


def texts(conversation: Conversation) -> list[str]:
    return [one.text for one in conversation.messages]


def test_a_conversation_is_given_to_the_server_with_its_system_prompt_first() -> None:
    assert talk("a", "b", "c", system="Be brief.").request() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert talk("a").request() == [{"role": "user", "content": "a"}]


def test_an_answer_is_written_anew_and_a_message_edited_and_nothing_that_was_is_changed() -> None:
    before = talk("a", "b", "c", "d")
    assert texts(without_answer(before)) == ["a", "b", "c"]
    assert without_answer(before).unanswered
    assert texts(edited(before, 2, "C")) == ["a", "b", "C"]
    assert texts(edited(before, 0, "A")) == ["A"]
    assert texts(before) == ["a", "b", "c", "d"]
    assert edited(before, 0, "A").id == before.id


def test_what_makes_no_sense_is_refused() -> None:
    for wrong in (
        lambda: said(talk("a", "b"), "  \n"),
        lambda: said(talk("a"), "again"),
        lambda: answered(talk("a", "b"), "again"),
        lambda: without_answer(talk("a")),
        lambda: without_answer(Conversation()),
        lambda: edited(talk("a", "b"), 1, "not mine"),
        lambda: edited(talk("a", "b"), 5, "nowhere"),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_a_conversation_is_called_by_its_title_or_what_was_said_first() -> None:
    assert talk("Why is\nthe sky blue?").name == "Why is the sky blue?"
    assert replace(talk("a"), title="Sky").name == "Sky"
    assert len(talk("x" * 200).name) == 60
    assert Conversation().name == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(text=st.text(min_size=1).filter(str.strip), title=st.text(), system=st.text())
def test_it_is_kept_and_read_as_it_was(tmp_path: Path, text: str, title: str, system: str) -> None:
    home = Home(tmp_path)
    one = replace(talk(text, text, text, system=system), title=title)
    path = conversations.save(home, one)
    assert conversations.load(home, one.id) == one
    assert path.parent == tmp_path / "conversations"
    assert one in conversations.all_conversations(home)[0]
    conversations.delete(home, one.id)
    assert conversations.all_conversations(home) == ([], {})


def test_strange_names_stay_in_the_file_and_out_of_its_name(home: Path) -> None:
    one = replace(talk(STRANGE, STRANGE), title=STRANGE)
    path = conversations.save(Home(home), one)
    assert path.name == f"{one.id}.json"
    assert conversations.load(Home(home), one.id) == one
    markdown = to_markdown(one)
    assert "<script>" not in markdown
    assert "☃" in markdown


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", "x" * 8, "0" * 65, "00000000.json"])
def test_what_is_no_id_is_no_file(home: Path, name: str) -> None:
    for do in (conversations.load, conversations.delete):
        with pytest.raises(UsageError, match="is no id of a conversation"):
            do(Home(home), name)
    with pytest.raises(UsageError):
        conversations.save(Home(home), replace(talk("a"), id=name))
    assert not (home / "conversations").exists()


def test_a_file_that_cannot_be_read_hides_no_other(home: Path) -> None:
    good = talk("a", "b")
    path = conversations.save(Home(home), good)
    (path.parent / "0badbad0.json").write_text("{")
    found, problems = conversations.all_conversations(Home(home))
    assert found == [good]
    assert "holds no conversation" in problems["0badbad0.json"]


def test_the_one_that_was_touched_last_comes_first(home: Path) -> None:
    first, second = talk("a"), talk("b")
    for one in (first, second, first):
        path = conversations.save(Home(home), one)
        path.touch()
    assert [one.id for one in conversations.all_conversations(Home(home))[0]] == [first.id, second.id]
    assert path.parent.stat().st_mode & 0o077 == 0  # nobody else's


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "{}", '{"schema": 2}', '{"schema": 1, "messages": [{"role": "user"}]}',
        '{"schema": 1, "messages": 4}',
        '{"schema": 1, "messages": [{"role": "robot", "text": "x"}]}', '{"schema": 1, "id": 3, "messages": []}',
        '{"schema": 1, "messages": [], "more": 1}',
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_refused(text: str) -> None:
    with pytest.raises(NoConversation, match=r"^here\.json holds no conversation: "):
        from_json(text, "here.json")


def test_markdown_says_who_wrote_what_and_how() -> None:
    lines = to_markdown(talk("Why?", "# Because\nof that", system="Be brief.")).splitlines()
    assert lines[0] == "# Why?"
    assert "## System prompt" in lines
    assert "> # Because" in lines  # a heading of the model's is none of the page's
    assert "## Q4\\_0 on local" in lines
    [about] = [line for line in lines if "tok/s" in line]
    assert "temperature 0.8" in about
    assert "seed 7" in about
    assert "first text after 35 ms, 41 tok/s, 12 tokens (stop)" in about
    assert json.loads(to_json(talk("a")))["schema"] == 1


def test_a_pair_is_judged_without_knowing_who_wrote(home: Path) -> None:
    first, second = talk("Why?", "Because."), talk("Why?", "No idea.", variant="Q8_0")
    shown = pairs.blind(first, second, seed=3, rater="ann")
    assert {one.text for one in shown} == {"Because.", "No idea."}
    kept.add_pair(Home(home), "ann", shown, [5 if one.text == "Because." else 1 for one in shown])
    marks = {one.variant: one.mark for one in kept.all_ratings(Home(home))}
    assert marks == {"Q4_0": 5, "Q8_0": 1}
    assert {one.prompt_set for one in kept.all_ratings(Home(home))} == {"chat"}
    assert {one.prompt_sha256 for one in kept.all_ratings(Home(home))} == {ratings.sha256("Why?")}


def test_the_order_says_nothing_of_who_wrote() -> None:
    first, second = talk("Why?", "A"), talk("Why?", "B", variant="Q8_0")
    orders = {tuple(one.text for one in pairs.blind(first, second, seed, "ann")) for seed in range(20)}
    assert orders == {("A", "B"), ("B", "A")}
    assert pairs.blind(first, second, 1, "ann") == pairs.blind(second, first, 1, "ann")


def test_the_same_text_of_both_is_one_and_its_mark_counts_for_both(home: Path) -> None:
    [shown] = pairs.blind(talk("Why?", "A"), talk("Why?", "A", variant="Q8_0"), 1, "ann")
    kept.add_pair(Home(home), "ann", [shown], [4])
    assert {one.variant: one.mark for one in kept.all_ratings(Home(home))} == {"Q4_0": 4, "Q8_0": 4}


def test_a_longer_conversation_is_another_prompt_than_its_last_message() -> None:
    short = pairs.as_answer(talk("c", "d"))
    for other in (talk("a", "b", "c", "d"), talk("c", "d", system="Be brief.")):
        assert pairs.as_answer(other).prompt != short.prompt == "c"


def test_pairs_that_cannot_be_judged_are_refused(home: Path) -> None:
    good, other = talk("Why?", "A"), talk("How?", "B")
    with pytest.raises(UsageError, match="did not answer the same"):
        pairs.blind(good, other, 1, "ann")
    with pytest.raises(UsageError, match="no whole answer"):
        pairs.blind(good, talk("Why?"), 1, "ann")
    cut = replace(good, messages=(good.messages[0], replace(good.messages[1], figures=replace(FIGURES, ended=""))))
    with pytest.raises(UsageError, match="cut off"):
        pairs.as_answer(cut)
    shown = pairs.blind(good, talk("Why?", "B", variant="Q8_0"), 1, "ann")
    for rater, marks in (("ann", [1]), ("ann", [1, 6]), ("ann", [0, 1]), (" ", [1, 2])):
        with pytest.raises(UsageError):
            kept.add_pair(Home(home), rater, shown, marks)
    assert kept.all_ratings(Home(home)) == []


def test_presets_are_told_apart_and_unknown_ones_refused() -> None:
    assert len(presets.TABLE) >= 7  # six, and none
    assert len({one.text for one in presets.TABLE.values()}) == len(presets.TABLE)
    assert len({one.title for one in presets.TABLE.values()}) == len(presets.TABLE)
    assert presets.preset("none").text == ""
    with pytest.raises(UsageError, match="did you mean coder"):
        presets.preset("codr")
