"""Changes random bytes of a GGUF and has the quantizer's runner look at it; prints how many were refused.

python change_gguf.py RUNNER GGUF SCRATCH_FILE

A program of its own: a crash in llama.cpp's library would take the tests along.
"""

from __future__ import annotations

import random
import runpy
import sys
from pathlib import Path

TIMES = 400
#: The header, the header with the first tokens, all tokens and tensor descriptions.
REACH = (200, 2000, 30000)


def changed(whole: bytes, chance: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(chance.choice([1, 2, 8])):
        data[chance.randrange(4, chance.choice(REACH))] = chance.choice([0, 255, chance.randrange(256)])
    return bytes(data)


def main() -> None:
    runner, source, scratch = map(Path, sys.argv[1:])
    names = runpy.run_path(str(runner))
    chance, whole, refused = random.Random(0), source.read_bytes(), 0
    for _ in range(TIMES):
        scratch.write_bytes(changed(whole, chance))
        try:
            names["inspect"](scratch)
        except names["Failure"] as error:
            refused += 1
            assert "\n" not in str(error)
    sys.stdout.write(f"{refused} of {TIMES}\n")


if __name__ == "__main__":
    main()
