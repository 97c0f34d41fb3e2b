"""Make reference-F16.gguf and the model card from the Hugging Face folder beside this file.

    python reference_model/convert.py [--card-only]

The same folder gives the same bytes, on every machine with the same llama-cpp-python.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from quantfarm import toolchain
from reference_model import card

FOLDER, GGUF, CARD = HERE / "model", HERE / "reference-F16.gguf", HERE / "MODEL_CARD.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--card-only", action="store_true", help="write the model card alone")
    if not parser.parse_args().card_only:
        toolchain.convert(FOLDER, GGUF, "reference", lambda step: print(f"{step.what} {step.note}".strip()))
    CARD.write_text(card.text(FOLDER, GGUF))
    print(f"{GGUF.name}: {GGUF.stat().st_size} bytes, sha256 {hashlib.sha256(GGUF.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
