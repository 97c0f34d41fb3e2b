"""`quantfarm ask`: variants answer next to each other, one after the other on a device, as they write."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gguf
import pytest

from quantfarm.answers import Manner, Writer, from_events
from quantfarm.prompts import EDGE_TEN
from tests.running import CONTEXT, RUNNERS, Ran, command, run
from tests.sweeping import QUANTFARM, quantfarm

PROMPT = "def fibonacci(n):"
FEW = ("--n-gen", "12", "--threads", "1")


def answer(model: Path, folder: Path, prompts: list[str], **parameters: Any) -> Ran:
    file = folder / "prompts.json"
    file.write_text(json.dumps(prompts))
    extension = str(RUNNERS / "llama_cpp_answer.py")
    request = {**CONTEXT, "kind": "answer", "model": str(model), "extension": extension, "requests": str(file)}
    return run(command("llama_cpp.py", "--request", json.dumps({**request, "n_gen": 12, "seed": 0, **parameters})))


def text(ran: Ran, index: int = 0) -> str:
    return "".join(event["text"] for event in ran.of("piece") if event["index"] == index)


def test_the_same_seed_writes_the_same_and_greedy_needs_none(reference: Path, tmp_path: Path) -> None:
    greedy = [text(answer(reference, tmp_path, [PROMPT], seed=seed)) for seed in (1, 2)]
    assert greedy[0] == greedy[1] != ""
    drawn = [text(answer(reference, tmp_path, [PROMPT], temperature=1.0, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_prompt_has_its_pieces_and_its_end(reference: Path, tmp_path: Path) -> None:
    ran = answer(reference, tmp_path, [PROMPT, "import os"])
    assert ran.end["ok"]
    first, second = ran.of("answer")
    assert (first["index"], second["index"]) == (0, 1)
    assert first["n"] == len(first["times"]) == 12
    assert first["submit"] < first["times"][0] <= first["times"][-1]
    assert first["text_sha256"] == hashlib.sha256(text(ran).encode()).hexdigest()
    alone = answer(reference, tmp_path, ["import os"])
    assert text(alone) == text(ran, 1)  # nothing of the first prompt is left


def pieces_of(tokens: list[bytes]) -> list[str]:
    """What the runner's decoder gives for tokens of these bytes, and what is left at the end."""
    program = (
        "import sys, json, runpy; names = runpy.run_path(sys.argv[1]);"
        "raw = [bytes(one) for one in json.loads(sys.argv[2])];\n"
        "class C:\n"
        "    @staticmethod\n"
        "    def llama_token_to_piece(vocab, token, buffer, size, lstrip, special):\n"
        "        buffer[:len(raw[token])] = raw[token]; return len(raw[token])\n"
        "class Core: pass\n"
        "Core.C = C; pieces = names['Pieces'](Core, None)\n"
        "print(json.dumps([*(pieces.of(i) for i in range(len(raw))), pieces.rest()]))"
    )
    given = json.dumps([list(one) for one in tokens])
    runner = str(RUNNERS / "llama_cpp_answer.py")
    return json.loads(subprocess.check_output([sys.executable, "-c", program, runner, given], text=True))


def test_half_a_character_waits_for_the_other_half() -> None:
    whole = "né".encode()
    assert pieces_of([whole[:2], whole[2:], b"!"]) == ["n", "é", "!", ""]
    assert pieces_of([whole[:2]]) == ["n", "\N{REPLACEMENT CHARACTER}"]  # cut off at the end: said, not lost


@pytest.fixture
def templated(reference: Path, tmp_path: Path) -> Path:
    """The reference model with a chat template that llama.cpp's library knows."""
    out = tmp_path / "chatml.gguf"
    template = (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
        "+ '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    program = Path(sys.executable).parent / "gguf-new-metadata"
    assert gguf
    subprocess.run([program, "--force", "--chat-template", template, reference, out], check=True, capture_output=True)
    return out


def test_the_models_own_chat_template_is_applied_where_it_has_one(templated: Path, tmp_path: Path) -> None:
    chat, plain = (answer(templated, tmp_path, [PROMPT], chat=chat).of("prompt")[0] for chat in (True, False))
    assert chat["form"] == "chat template"
    assert plain["form"] == "as it is"
    assert chat["n_tokens"] > plain["n_tokens"]


def test_the_end_of_the_text_ends_the_answer(reference: Path, tmp_path: Path) -> None:
    """A model whose end-of-text token is the one that it would write first: nothing is written."""
    begun = answer(reference, tmp_path, [PROMPT], n_gen=1, chat=False)
    assert begun.of("answer")[0]["ended"] == "length"
    first = first_token(reference, text(begun))
    out, program = tmp_path / "ends.gguf", Path(sys.executable).parent / "gguf-set-metadata"
    out.write_bytes(reference.read_bytes())
    subprocess.run(
        [program, "--force", out, "tokenizer.ggml.eos_token_id", str(first)], check=True, capture_output=True
    )
    ended = answer(out, tmp_path, [PROMPT], chat=False)
    assert text(ended) == ""
    assert ended.of("answer")[0]["ended"] == "end of text"


def first_token(model: Path, piece: str) -> int:
    """The id of the token with this text; byte-level vocabularies write a line's end as Ċ and a space as Ġ."""
    named = piece.replace(" ", "Ġ").replace("\n", "Ċ")
    return gguf.GGUFReader(model).fields["tokenizer.ggml.tokens"].contents().index(named)


@pytest.mark.parametrize(("prompts", "said"), [([], "prompts are a list"), ([""], "prompts are a list")])
def test_a_request_without_prompts_is_refused(reference: Path, tmp_path: Path, prompts: list[str], said: str) -> None:
    ran = answer(reference, tmp_path, prompts)
    assert ran.code == 1
    assert said in ran.end["error"]


def test_variants_that_are_not_there_are_made_and_answer(home: Path) -> None:
    asked = ("ask", PROMPT, "--variants", "F16,Q8_0", *FEW)
    found = json.loads(quantfarm(*asked, "--json", QUANTFARM_HOME=str(home)))["answers"]
    assert [one["variant"] for one in found] == ["F16", "Q8_0"]
    for one in found:
        assert one["text"]
        assert one["tokens"] == 12
        assert one["ttft_s"] > 0
        assert one["tps"] > 0
    lines = quantfarm(*asked, QUANTFARM_HOME=str(home))
    assert "making" not in lines  # it is there now
    assert lines.index("F16 on local") < lines.index("Q8_0 on local")
    assert "first token after" in lines
    assert found[1]["text"].strip("\n") in lines


def test_in_a_terminal_the_answers_stand_next_to_each_other(home: Path) -> None:
    screen = in_terminal("ask", PROMPT, "--variants", "F16,Q8_0", *FEW, home=home)
    assert any("F16 on local" in line and "Q8_0 on local" in line for line in screen.splitlines())
    assert "tok/s" in screen


def test_the_answers_to_a_set_stand_together_by_prompt(home: Path) -> None:
    """Asked to be read, not to be judged."""
    said = quantfarm("ask", "--set", "edge-ten", "--variants", "F16,Q8_0", "-n", "4", QUANTFARM_HOME=str(home))
    places = [said.index(f" {probe.probes} ") for probe in EDGE_TEN]
    assert places == sorted(places)
    for begin, end in zip(places, [*places[1:], len(said)], strict=True):
        assert said.count("F16 on local: first token after", begin, end) == 1
        assert said.count("Q8_0 on local: first token after", begin, end) == 1


def in_terminal(*arguments: str, home: Path) -> str:
    leader, follower = pty.openpty()
    environment = {**os.environ, "QUANTFARM_HOME": str(home), "COLUMNS": "160", "LINES": "50", "TERM": "xterm"}
    process = subprocess.Popen(
        [QUANTFARM, *arguments], stdin=follower, stdout=follower, stderr=follower, env=environment
    )
    os.close(follower)
    seen, until = b"", time.monotonic() + 120
    while time.monotonic() < until:
        if not select.select([leader], [], [], 1.0)[0]:
            continue
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        seen += part
    os.close(leader)
    assert process.wait(10) == 0, seen.decode(errors="replace")
    return seen.decode(errors="replace")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give a prompt"),
        (("hello", "--set", "edge-ten"), "give a prompt"),
        (("hello", "--rate", "ann"), "add --set"),
        (("hello", "--variants", "Q4_KM"), "did you mean Q4_K_M"),
        (("hello", "--device", "fake-laptop"), "is simulated: it answers nothing"),
        (("hello", "--device", "lokal"), "did you mean local"),
        (("hello", "--runtime", "llama_bench"), "runtimes that answer"),
        (("hello", "--model", "nothing-here"), "no such file or folder"),
        (("--set", "edge-tn"), "did you mean edge-ten"),
    ],
)
def test_wrong_questions_are_refused_before_anything_is_made(home: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in quantfarm("ask", *arguments, code=2, QUANTFARM_HOME=str(home))
    assert not (home / "artifacts").exists()


def test_figures_are_from_the_runners_times() -> None:
    """Half a second to the first token, then two tokens in a quarter each."""
    writer = Writer(device="local", model="m", variant="F16", artifact="a", runtime="llama_cpp", build="b")
    events = [
        {"event": "prompt", "index": 0, "form": "as it is"},
        {"event": "piece", "index": 0, "text": "Hel"},
        {"event": "piece", "index": 0, "text": "lo"},
        {"event": "answer", "index": 0, "ended": "length", "submit": 10**9,
         "times": [1_500_000_000, 1_750_000_000, 2_000_000_000]},
    ]  # fmt: skip
    [found] = from_events(events, writer, Manner(), ["?"])
    assert (found.text, found.ttft_s, found.tps, found.n) == ("Hello", 0.5, 4.0, 3)


def test_the_set_has_ten_prompts_each_probing_something_else() -> None:
    assert len({probe.probes for probe in EDGE_TEN}) == len({probe.prompt for probe in EDGE_TEN}) == 10
