"""Tasks under llama.cpp: log-likelihoods of continuations. An extension of `runners/llama_cpp.py`, loaded by it.

What the choices of a document share is decoded once, as tokens of several sequences at once, and what the
documents of a group begin with (the five shots of an MMLU subject) once for all of them, its cells lent to each by
`llama_memory_seq_cp`. Several documents go into one decode, and logits are made where they are read alone.
"""

from __future__ import annotations

import importlib.util
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from typing import Any

#: Sequences of one context: llama.cpp's own most; it takes no more than a batch has tokens.
MOST_SEQUENCES = 256
#: Of the sequences, the one that keeps what the documents of a group begin with.
KEPT = 0
#: A shared beginning shorter than this is not worth a decode of its own.
WORTH_KEEPING = 32
#: Tokens of documents in one decode on a processor: attention looks at the cells of all of them, so that its cost
#: grows with the square, while matrices are used well from some dozens of rows on.
PACK = 256
#: float32 logits of one decode: 128 MiB.
MOST_LOGITS = 2**25


def load(path: str) -> Any:
    """A Python file by its path, under a name that nothing else has."""
    loader = SourceFileLoader("task_items", path)
    spec = importlib.util.spec_from_loader("task_items", loader)
    assert spec
    module = sys.modules["task_items"] = importlib.util.module_from_spec(spec)  # dataclasses look there
    loader.exec_module(module)
    return module


@dataclass
class Layout:
    """Tokens of one decode. `row` is the number of a token's row of logits, in the order of the outputs."""

    tokens: array[int] = field(default_factory=lambda: array("i"))
    places: list[int] = field(default_factory=list)
    sequences: list[tuple[int, ...]] = field(default_factory=list)
    outputs: list[bool] = field(default_factory=list)
    n_rows: int = 0
    n_sequences: int = 0

    def add(self, ids: array[int], place: int, sequences: tuple[int, ...], first_output: int) -> None:
        """Tokens that follow each other from `place`; logits from position `first_output` on."""
        self.tokens += ids
        n = len(ids)
        self.places += range(place, place + n)
        self.sequences += [sequences] * n
        wanted = min(n, max(0, place + n - first_output))
        self.outputs += [False] * (n - wanted) + [True] * wanted
        self.n_rows += wanted


@dataclass(frozen=True)
class Need:
    """What a document takes of a decode after `kept` tokens that are there already."""

    item: Any
    kept: int
    inputs: tuple[array[int], ...]
    shared: int  # tokens that all its choices begin with

    @classmethod
    def of(cls, item: Any, kept: int, shared_length: Callable[[Sequence[array[int]]], int]) -> Need:
        inputs = tuple(choice.inputs for choice in item.choices)
        return cls(item, kept, inputs, shared_length(inputs))

    @property
    def firsts(self) -> list[int]:
        """Of each choice, the position whose logits score its first token."""
        ends = (len(choice.continuation) for choice in self.item.choices)
        return [len(ids) - n for ids, n in zip(self.inputs, ends, strict=True)]

    @property
    def tokens(self) -> int:
        return self.shared - self.kept + sum(len(ids) - self.shared for ids in self.inputs)

    @property
    def rows(self) -> int:
        """At most: what is shared is counted for each."""
        return sum(len(choice.continuation) for choice in self.item.choices)

    def lay(self, layout: Layout, first_sequence: int) -> list[list[int]]:
        """Puts its tokens in; the rows of logits of each choice."""
        sequences = tuple(range(first_sequence, first_sequence + len(self.inputs)))
        firsts, begun = self.firsts, layout.n_rows
        least = min(firsts)
        layout.add(self.inputs[0][self.kept : self.shared], self.kept, sequences, least)
        common = layout.n_rows - begun  # rows of positions least … shared - 1
        rows: list[list[int]] = []
        for ids, first, sequence in zip(self.inputs, firsts, sequences, strict=True):
            own_begun = layout.n_rows
            layout.add(ids[self.shared :], self.shared, (sequence,), first)
            in_common = range(begun + first - (self.shared - common), begun + common)
            rows.append([*in_common, *range(own_begun, layout.n_rows)])
        layout.n_sequences = max(layout.n_sequences, sequences[-1] + 1)
        return rows


class Decoder:
    """One context for all packs: unified cells, so that a cell can be of several sequences."""

    def __init__(self, core: Any, session: Any, cells: int, sequences: int) -> None:
        self.core, self.n_vocab = core, session.model.n_vocab
        self.context = session.context(cells, sequences, unified=True)
        self.n_batch = self.context.settings["n_batch"]
        self.batch = core.C.llama_batch_init(self.n_batch, 0, sequences)
        self.decoded = 0  # tokens

    def logits(self, layout: Layout) -> Any:
        """Rows of logits of shape (rows, n_vocab); good until the next call."""
        core, parts = self.core, []
        for start in range(0, len(layout.tokens), self.n_batch):
            stop = min(start + self.n_batch, len(layout.tokens))
            rows = self._fill(layout, start, stop)
            self.context.decode(self.batch)
            if rows:
                pointer = core.C.llama_get_logits(self.context.handle)
                parts.append(core.np.ctypeslib.as_array(pointer, (rows, self.n_vocab)))
                if stop < len(layout.tokens):
                    parts[-1] = parts[-1].copy()
        return parts[0] if len(parts) == 1 else core.np.concatenate(parts)

    def _fill(self, layout: Layout, start: int, stop: int) -> int:
        raw = self.batch
        self.decoded += stop - start
        raw.n_tokens = stop - start
        token, pos, n_seq_id, seq_id, logits = raw.token, raw.pos, raw.n_seq_id, raw.seq_id, raw.logits
        for i in range(start, stop):
            at, sequences = i - start, layout.sequences[i]
            token[at], pos[at], logits[at] = layout.tokens[i], layout.places[i], layout.outputs[i]
            n_seq_id[at], ids = len(sequences), seq_id[at]
            for k, sequence in enumerate(sequences):
                ids[k] = sequence
        return sum(layout.outputs[start:stop])

    def keep(self, ids: array[int]) -> None:
        """Decodes what the documents of a group begin with; nothing else is left in the cells."""
        self.context.clear()
        for start in range(0, len(ids), self.n_batch):
            layout = Layout()
            layout.add(ids[start : start + self.n_batch], start, (KEPT,), len(ids))
            self._fill(layout, 0, len(layout.tokens))
            self.context.decode(self.batch)

    def lend(self, n_sequences: int, kept: int) -> None:
        """The sequences of the next pack begin with what is kept, and with nothing else."""
        memory, lib = self.context.memory, self.core.C
        if not kept:
            self.context.clear()
            return
        for sequence in range(KEPT + 1, n_sequences):
            lib.llama_memory_seq_rm(memory, sequence, -1, -1)
            lib.llama_memory_seq_cp(memory, KEPT, sequence, 0, kept)


class LlamaModel:
    """What `task_items.answer` asks of a runtime."""

    def __init__(self, core: Any, session: Any, shared: Any) -> None:
        self.core, self.session, self.shared = core, session, shared
        lib, request, vocab = core.C, session.request, session.model.vocab
        trained = lib.llama_model_n_ctx_train(session.model.handle)
        self.max_length = min(request.get("n_ctx") or trained, trained)  # as lm-eval's own models
        self.sequences = min(MOST_SEQUENCES, int(core.need(request, "n_batch")))
        if lib.llama_model_is_recurrent(session.model.handle) or lib.llama_model_is_hybrid(session.model.handle):
            raise core.Failure("load", "tasks share what choices begin with: a recurrent state cannot be shared")
        asked = request.get("add_bos")
        self.add_bos = session.model.adds_bos if asked is None else bool(asked)
        bos, eos = lib.llama_vocab_bos(vocab), lib.llama_vocab_eos(vocab)
        self.prefix = bos if bos >= 0 else eos
        if self.prefix < 0 or (self.add_bos and bos < 0):
            raise core.Failure("run", "the vocabulary has neither BOS nor EOS to begin with")
        self._bos = [bos]
        self._decoder: Decoder | None = None
        self.asked = self.decoded = 0  # tokens: of all requests one by one, and as many as were decoded

    def encode(self, text: str, add_special: bool) -> list[int]:
        """As a Hugging Face tokenizer: special tokens parsed; no second BOS before one that the text begins with."""
        core, raw = self.core, text.encode()
        room = len(raw) + 8
        ids = (core.ctypes.c_int32 * room)()
        n = core.C.llama_tokenize(self.session.model.vocab, raw, len(raw), ids, room, False, True)
        if n < 0:
            raise ValueError(f"a text of {len(raw)} bytes that cannot be tokenised ({n})")
        found = ids[:n]
        return self._bos + found if add_special and self.add_bos and found[:1] != self._bos else found

    def score(self, items: Sequence[Any]) -> Iterator[Any]:
        whole = [item for item in items if not item.truncated]
        yield from self._group(whole)
        yield from self._group([item for item in items if item.truncated])  # they begin like nobody else

    def _group(self, items: Sequence[Any]) -> Iterator[Any]:
        if not items:
            return
        kept = self._beginning(items)
        needs = [Need.of(item, kept, self.shared.shared_length) for item in items]
        self.asked += sum(len(ids) for need in needs for ids in need.inputs)
        needs.sort(key=lambda need: -need.tokens)  # longest first: what does not fit is known at once
        if (most := max(len(need.inputs) for need in needs)) >= self.sequences:
            raise ValueError(f"a document with {most} choices: n_batch {self.sequences} takes fewer")
        decoder = self._ready(kept + needs[0].tokens)
        if kept:
            decoder.keep(needs[0].inputs[0][:kept])
        for pack in self._packs(needs):
            yield from self._pack(decoder, pack, kept)
        self.decoded, decoder.decoded = self.decoded + decoder.decoded, 0

    def _beginning(self, items: Sequence[Any]) -> int:
        """How many tokens all inputs begin with; 0 where that is not worth it. One token is left to each choice."""
        inputs = [choice.inputs for item in items for choice in item.choices]
        first = min(len(ids) - len(c.continuation) for item in items for c in item.choices for ids in (c.inputs,))
        shared = min(self.shared.shared_length(inputs), first)
        return shared if len(items) > 1 and shared >= WORTH_KEEPING else 0

    def _ready(self, cells: int) -> Decoder:
        """The context: made anew where a document needs more cells than the last one had."""
        pack = cells + int(self.session.request["n_ubatch"])
        if self._decoder and self._decoder.context.settings["n_ctx"] < pack:
            self._decoder.context.free()
            self._decoder = None
        if not self._decoder:
            self._decoder = Decoder(self.core, self.session, pack, self.sequences)
        return self._decoder

    def _packs(self, needs: Sequence[Need]) -> Iterator[list[Need]]:
        """Documents that go into one decode: no more tokens than a micro-batch holds, or one document."""
        request = self.session.request
        most = int(request["n_ubatch"]) if request["n_gpu_layers"] else min(PACK, int(request["n_ubatch"]))
        rows = max(1, MOST_LOGITS // self.session.model.n_vocab)
        pack: list[Need] = []
        for need in needs:
            both = [*pack, need]
            fits = sum(one.tokens for one in both) <= most and sum(one.rows for one in both) <= rows
            if pack and not (fits and sum(len(one.inputs) for one in both) < self.sequences):
                yield pack
                both = [need]
            pack = both
        if pack:
            yield pack

    def _pack(self, decoder: Decoder, pack: Sequence[Need], kept: int) -> Iterator[Any]:
        layout, rows, sequence = Layout(), [], KEPT + 1
        for need in pack:
            rows.append(need.lay(layout, sequence))
            sequence += len(need.inputs)
        decoder.lend(layout.n_sequences, kept)
        logits = decoder.logits(layout)
        for need, of in zip(pack, rows, strict=True):
            found = [self._sum(logits, r, c.continuation) for r, c in zip(of, need.item.choices, strict=True)]
            yield self.shared.Score(need.item, [ll for ll, _ in found], [greedy for _, greedy in found])

    def _sum(self, logits: Any, rows: Sequence[int], targets: array[int]) -> tuple[float, bool]:
        """(Σ log-softmax at the targets in nats, whether each is the largest logit)."""
        np = self.core.np
        part = logits[rows]
        at = np.arange(len(targets)), np.frombuffer(targets, dtype=np.int32)
        peak = part.max(axis=1)
        sums = np.exp(part - peak[:, None]).sum(axis=1, dtype=np.float64)
        ll = float(((part[at] - peak) - np.log(sums)).sum())
        if not np.isfinite(ll):
            raise self.core.Failure("run", "the logits are not finite numbers")
        return ll, bool((part.argmax(axis=1) == at[1]).all())


def tasks(core: Any, session: Any) -> None:
    core.load_numpy()
    shared = load(str(core.need(session.request, "items")))
    model = LlamaModel(core, session, shared)
    try:
        shared.answer(session.request, model, session.events.emit)
        session.events.emit("result", decoded=model.decoded, asked=model.asked)
    except (ValueError, OSError, KeyError) as error:
        raise core.Failure("run", f"the requests cannot be scored: {error}") from error


def kinds(core: Any) -> Mapping[str, Callable[[Any], None]]:
    return {"tasks": lambda session: tasks(core, session)}
