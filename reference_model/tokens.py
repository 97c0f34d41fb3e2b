"""Token ids of a text on stdin by Hugging Face's own tokenizers library: what the GGUF's tokenizer is held against.

    python reference_model/tokens.py TOKENIZER_JSON < TEXT

Prints {"n_tokens": …, "token_sha256": of the ids as little-endian int32}. Runs in the converter's environment.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys

from tokenizers import Tokenizer


def main() -> None:
    ids = Tokenizer.from_file(sys.argv[1]).encode(sys.stdin.buffer.read().decode("utf-8")).ids
    packed = struct.pack(f"<{len(ids)}i", *ids)
    print(json.dumps({"n_tokens": len(ids), "token_sha256": hashlib.sha256(packed).hexdigest()}))


if __name__ == "__main__":
    main()
