"""What llama-perplexity does to logits, for the runners that get theirs as NumPy arrays: chunks of a text, nll, KL
divergence, and the tool's base-logits file (METHOD §2). Loaded by path by those runners; needs NumPy alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

BLOCK = 2**18  # float32 values scored at a time: 1 MiB stays in the cache
MAGIC = b"_logits_"
#: What the lifeline takes away when the process is told to stop while a file is being written.
unfinished: set[Path] = set()


class Wrong(Exception):
    """It cannot be scored; why, in one line."""


def token_sha256(ids: Sequence[int]) -> str:
    """Of the ids as little-endian int32."""
    return hashlib.sha256(np.asarray(ids, dtype="<i4").tobytes()).hexdigest()


class Text:
    """A text cut into disjoint chunks of n_ctx tokens; the second half of each is scored.

    `ids` are those of the whole text, BOS first where the vocabulary adds it (`bos`, else None).
    """

    def __init__(self, raw: bytes, ids: Sequence[int], n_ctx: int, n_chunks: int | None, bos: int | None) -> None:
        self.sha256, self.n_ctx, self.bos = hashlib.sha256(raw).hexdigest(), n_ctx, bos
        self.ids = np.asarray(ids, dtype=np.int32)
        if len(self.ids) < 2 * n_ctx:
            least = f"perplexity needs at least {2 * n_ctx} (2 × n_ctx {n_ctx})"
            raise Wrong(f"the text has {len(self.ids)} tokens: {least}")
        self.n_chunks = min(len(self.ids) // n_ctx, n_chunks if n_chunks else len(self.ids))
        self.first = n_ctx // 2  # the position whose logits score the first target
        self.rows = n_ctx - 1 - self.first

    def evaluated(self) -> Any:
        return self.ids[: self.n_chunks * self.n_ctx]

    def targets(self, chunk: int) -> Any:
        start = chunk * self.n_ctx
        return self.ids[start + self.first + 1 : start + self.n_ctx]

    def inputs(self, chunk: int) -> Any:
        """The ids of a chunk; where the vocabulary adds BOS it stands in for the first token."""
        ids = self.ids[chunk * self.n_ctx : (chunk + 1) * self.n_ctx].copy()
        if self.bos is not None:
            ids[0] = self.bos
        return ids

    def facts(self, piece: Callable[[int], bytes]) -> dict[str, Any]:
        """The fields of the `tokens` event. `piece`: the text that a token stands for."""
        targets = np.concatenate([self.targets(chunk) for chunk in range(self.n_chunks)])
        tokens, counts = np.unique(targets, return_counts=True)
        return {
            "text_sha256": self.sha256,
            "token_sha256": token_sha256(self.evaluated()),
            "n_tokens": len(self.ids),
            "n_chunks": self.n_chunks,
            "n_ctx": self.n_ctx,
            "add_bos": self.bos is not None,
            "bytes": sum(len(piece(int(t))) * int(n) for t, n in zip(tokens, counts, strict=True)),
        }


def without_newline(raw: bytes) -> bytes:
    """llama-perplexity drops one trailing newline of a file."""
    return raw[:-1] if raw.endswith(b"\n") else raw


class Rows:
    """Log-softmax of rows of float32 logits, in the float widths that llama-perplexity uses.

    `peak` and `log_sum` (float32) and `sums` (float64, of float32 exponentials): shape (rows,).
    """

    def __init__(self, logits: Any, targets: Any) -> None:
        self.logits, self.at = logits, (np.arange(len(targets)), targets)
        self.peak = logits.max(axis=1)
        work = logits - self.peak[:, None]
        np.exp(work, out=work)
        self.sums = work.sum(axis=1, dtype=np.float64)
        self.log_sum = np.log(self.sums).astype(np.float32)
        self.target = logits[self.at]

    def nll(self) -> Any:
        """Nats per target, float64: -(logit - peak - ln Σ exp)."""
        return np.log(self.sums) - (self.target - self.peak)

    def divergence(self, base: Any) -> dict[str, Any]:
        """KL divergence to a base whose rows are (scale f32, min f32, u16 log-probabilities), as the tool sums it."""
        scale, least = base[:, :2].copy().view("<f4"), base[:, 2:4].copy().view("<f4")
        log_base = base[:, 4 : 4 + self.logits.shape[1]].astype(np.float32)
        log_base *= scale
        log_base += least
        top = log_base.argmax(axis=1) == self.logits.argmax(axis=1)
        nll, nll_base = self.peak + self.log_sum - self.target, -log_base[self.at]
        terms = log_base - self.logits
        terms += (self.peak + self.log_sum)[:, None]
        terms *= np.where(log_base > np.float32(-16), np.exp(log_base), np.float32(0))
        return {
            "kld": terms.sum(axis=1, dtype=np.float64),
            "same_top": top,
            "dp": np.exp(-nll) - np.exp(-nll_base),
            "nll_base": nll_base,
        }

    def packed(self, width: int) -> Any:
        """Rows of llama-perplexity's base-logits file: scale, min, then log-probabilities in 16 bits."""
        least = np.maximum(self.logits.min(axis=1), self.peak - np.float32(16))
        scale = (self.peak - least) / np.float32(65535)
        head = np.stack([scale, least - self.peak - self.log_sum], axis=1).astype("<f4")
        with np.errstate(divide="ignore"):
            inverse = np.where(scale > 0, np.float32(1) / scale, np.float32(0))
        steps = np.rint(np.maximum(self.logits - least[:, None], 0) * inverse[:, None])
        rows = np.zeros((len(steps), width), dtype="<u2")
        rows[:, :4] = head.view("<u2")
        rows[:, 4 : 4 + self.logits.shape[1]] = steps
        return rows


def row_width(n_vocab: int) -> int:
    """16-bit words of a row of the base-logits file."""
    return 2 * ((n_vocab + 1) // 2) + 4


def score(logits: Any, targets: Any, base: Any = None, write: IO[bytes] | None = None) -> dict[str, Any]:
    """The figures of one chunk, arrays over its scored tokens; in groups of rows that stay in the cache.

    `logits`: float32 of shape (rows, n_vocab). Raises Wrong where a figure is not finite.
    """
    found: dict[str, list[Any]] = {}
    step = max(1, BLOCK // logits.shape[1])
    for start in range(0, len(targets), step):
        part = slice(start, start + step)
        rows = Rows(logits[part], targets[part])
        figures = {"nll": rows.nll()} | (rows.divergence(base[part]) if base is not None else {})
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
        if write:
            write.write(rows.packed(row_width(logits.shape[1])).tobytes())
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    if not all(np.isfinite(values).all() for values in joined.values()):
        raise Wrong("the logits are not finite numbers")
    return joined


def log_likelihood(logits: Any, targets: Any) -> tuple[float, bool]:
    """Nats of the targets together (float64 over the vocabulary, as lm-eval's sum), and whether each was the likeliest.

    `logits` of shape (targets, n_vocab).
    """
    rows = np.asarray(logits, dtype=np.float64)
    peak = rows.max(axis=1)
    sums = np.log(np.exp(rows - peak[:, None]).sum(axis=1)) + peak
    ll = float((rows[np.arange(len(targets)), targets] - sums).sum())
    if not np.isfinite(ll):
        raise Wrong("the logits are not finite numbers")
    return ll, bool((rows.argmax(axis=1) == np.asarray(targets)).all())


class Base:
    """The unquantised model's log-probabilities, from a file that llama-perplexity or a runner of ours wrote."""

    def __init__(self, path: str, text: Text, n_vocab: int) -> None:
        self.width, self.rows = row_width(n_vocab), text.rows
        try:
            self._file = Path(path).open("rb")  # noqa: SIM115 (read chunk by chunk)
            size = Path(path).stat().st_size
        except OSError as error:
            raise Wrong(f"the base logits cannot be read: {error}") from error
        if self._file.read(8) != MAGIC:
            raise Wrong(f"{path} is no base-logits file")
        n_ctx, theirs, n_chunks = (int(v) for v in np.fromfile(self._file, "<i4", 3))
        if (n_ctx, theirs) != (text.n_ctx, n_vocab):
            ours = f"here n_ctx {text.n_ctx} and {n_vocab} tokens"
            raise Wrong(f"{path} is of n_ctx {n_ctx} and a vocabulary of {theirs}, {ours}")
        if n_chunks < text.n_chunks:
            raise Wrong(f"{path} holds {n_chunks} chunks, {text.n_chunks} are wanted")
        if size != 20 + 4 * n_ctx * n_chunks + 2 * self.width * self.rows * n_chunks:
            raise Wrong(f"{path} is not whole: {size} bytes")
        if not np.array_equal(
            np.fromfile(self._file, "<i4", n_ctx * n_chunks)[: text.n_chunks * n_ctx], text.evaluated()
        ):
            raise Wrong(f"{path} was made from another text or tokenizer")

    def next(self) -> Any:
        return np.fromfile(self._file, "<u2", self.rows * self.width).reshape(self.rows, self.width)


def head(text: Text, n_vocab: int) -> bytes:
    """The start of a base-logits file, up to its rows."""
    return MAGIC + np.asarray([text.n_ctx, n_vocab, text.n_chunks], dtype="<i4").tobytes() + text.evaluated().tobytes()


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is complete and on disk. Raises Wrong where it cannot."""
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            part = Path(file.name)
            unfinished.add(part)
            yield file  # type: ignore[misc]
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        raise Wrong(f"{path} cannot be written: {error}") from error
    finally:
        if part:
            part.unlink(missing_ok=True)
            unfinished.discard(part)


#: How a decoder of tokenizer.json writes a space.
SPACE = "\u2581"


def byte_level() -> dict[str, int]:
    """GPT-2's table, backwards: the character that stands for a byte in a byte-level vocabulary -> the byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


def pieces(decoder: Mapping[str, Any], piece: Callable[[int], str], added: set[int]) -> Callable[[int], bytes]:
    """The text that a token stands for. `decoder`: that of tokenizer.json; `added`: tokens of its added list."""
    alphabet, whole = byte_level(), "ByteLevel" in str(decoder)

    def text_of(token: int) -> bytes:
        text = piece(token)
        if token in added:
            return text.encode()
        if whole and all(c in alphabet for c in text):
            return bytes(alphabet[c] for c in text)
        if len(text) == 6 and text.startswith("<0x"):  # a byte that has no token of its own
            return bytes([int(text[3:5], 16)])
        return text.replace(SPACE, " ").encode()

    return text_of
