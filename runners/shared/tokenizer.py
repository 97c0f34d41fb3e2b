"""A model folder's own tokenizer, giving the ids that llama.cpp gives for its GGUF.

Loaded by path; `session` and `scoring` are put here by runners/shared/session.py. Needs transformers (without torch).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

session: Any = None
scoring: Any = None


class Tokenizer:
    """`bos`: the token that a text begins with, None where none is added; `prefix`: BOS, else EOS, else None."""

    def __init__(self, folder: Path) -> None:
        transformers = importlib.import_module("transformers")
        try:
            self._own: Any = transformers.AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True, use_fast=True
            )
        except Exception as error:
            raise session.Failure("load", f"its tokenizer cannot be loaded: {error}") from error
        self.bos_id, eos = self._own.bos_token_id, self._own.eos_token_id
        self.prefix: int | None = eos if self.bos_id is None else self.bos_id
        self.bos, self.adds_eos = self._added()
        self.ends = _ends(folder) | ({int(eos)} if eos is not None else set())

    def _added(self) -> tuple[int | None, bool]:
        """What stands around a text: BOS or nothing before it; whether anything after."""
        bare, whole = (self._own.encode("a", add_special_tokens=special) for special in (False, True))
        at = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
        before, after = whole[:at], whole[at + len(bare) :]
        if before not in ([], [self.bos_id]):
            raise session.Failure(
                "load", f"its tokenizer begins a text with {before}: no figure here is defined for it"
            )
        return (before or [None])[0], bool(after)

    def encode(self, text: str, *, bos: bool, special: bool) -> list[int]:
        """Token ids; with BOS where `bos` and it is added at all; special tokens in the text parsed if `special`."""
        ids = self._own.encode(text, add_special_tokens=False, split_special_tokens=not special)
        return [self.bos, *ids] if bos and self.bos is not None else list(ids)

    def pieces(self) -> Callable[[int], bytes]:
        """The text that a token stands for."""
        backend = getattr(self._own, "backend_tokenizer", None)
        decoder = json.loads(backend.to_str())["decoder"] if backend else {}
        added = set(self._own.added_tokens_decoder)
        return scoring.pieces(decoder or {}, lambda t: self._own.convert_ids_to_tokens(t) or "", added)

    @property
    def has_template(self) -> bool:
        return bool(getattr(self._own, "chat_template", None))

    def special(self) -> set[int]:
        """Tokens that are no text."""
        return {token for token, added in self._own.added_tokens_decoder.items() if added.special}

    def user_turn(self, text: str) -> str | None:
        """As `turns` of a text of the user's."""
        return self.turns([{"role": "user", "content": text}])

    def turns(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        """Messages in the model's chat template, up to where the answer begins and without BOS; None where it has
        none, or one that fails: a template is a program of the model's maker, run in jinja2's sandbox."""
        if not self.has_template:
            return None
        given = [dict(one) for one in messages]
        try:
            said = str(self._own.apply_chat_template(given, add_generation_prompt=True, tokenize=False))
        except Exception:
            return None
        return said.removeprefix(self._own.bos_token or "") if self.bos is not None else said


def _ends(folder: Path) -> set[int]:
    """The tokens that end an answer, as the model's configurations say."""
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        try:
            said = json.loads((folder / name).read_text("utf-8")).get("eos_token_id")
        except (OSError, ValueError, AttributeError):
            continue
        found |= {one for one in (said if isinstance(said, list) else [said]) if isinstance(one, int)}
    return found
