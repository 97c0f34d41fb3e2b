"""Make reference-F16.gguf, tokens.json and the model card from the Hugging Face folder beside this file.

    python reference_model/convert.py

The same folder gives the same bytes, on every machine with the same llama-cpp-python.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from quantfarm import corpus, toolchain
from quantfarm.toolchain import conversion, environments
from reference_model import card

FOLDER, GGUF = HERE / "model", HERE / "reference-F16.gguf"
CARD, TOKENS, SAMPLE = HERE / "MODEL_CARD.md", HERE / "tokens.json", HERE / "tokenizer_sample.txt"


def tokens(text: bytes) -> dict[str, Any]:
    """`n_tokens` and `token_sha256` of a UTF-8 text by the tokenizer of the Hugging Face folder."""
    python = environments.python_of(conversion.environment())
    command = [str(python), str(HERE / "tokens.py"), str(FOLDER / "tokenizer.json")]
    return json.loads(subprocess.run(command, input=text, check=True, capture_output=True).stdout)


def samples() -> list[dict[str, Any]]:
    """The tokens of two texts: a fixed one of many scripts, and this Python's held-out corpus."""
    texts = {SAMPLE.name: SAMPLE.read_bytes(), f"held out, CPython {platform.python_version()}": corpus.held_out_text()}
    return [
        {"text": name, "text_sha256": hashlib.sha256(text).hexdigest(), **tokens(text)} for name, text in texts.items()
    ]


def main() -> None:
    toolchain.convert(FOLDER, GGUF, "reference", lambda step: print(f"{step.what} {step.note}".strip()))
    TOKENS.write_text(json.dumps(samples(), indent=1) + "\n")
    CARD.write_text(card.text(FOLDER, GGUF))
    print(f"{GGUF.name}: {GGUF.stat().st_size} bytes, sha256 {card.sha256(GGUF)}")


if __name__ == "__main__":
    main()
