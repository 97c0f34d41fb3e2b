"""lm-eval's own Hugging Face model on a requests file: what the farm's log-likelihoods are compared with.

    python -P lm_eval_peer.py --model FOLDER --requests FILE [--bos true,false] [--batch 8] [--threads 2] [--n-ctx N]

Prints a JSON list, for each way with BOS: the seconds that `loglikelihood` took, and [log-likelihood, greedy] of each
request in the order of the file.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.13.0", "transformers>=5.0", "accelerate>=1.10", "lm-eval>=0.4.13", "numpy>=2.0"]
# ///

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false", "DO_NOT_TRACK": "1"}


def pairs(path: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()][1:]
    found: list[tuple[str, str]] = []
    for line in lines:
        given, ends = line["context"], line["continuations"]
        found += zip(given if isinstance(given, list) else [given] * len(ends), ends, strict=True)
    return found


def answered(given: argparse.Namespace, bos: str, asked: list[tuple[str, str]]) -> dict[str, Any]:
    """The model is loaded before the clock starts: requests a second are of `loglikelihood` alone."""
    model: Any = importlib.import_module("lm_eval.models.huggingface").HFLM(
        pretrained=given.model,
        dtype="float32",
        device="cpu",
        batch_size=given.batch,
        add_bos_token={"true": True, "false": False}.get(bos),
        max_length=given.n_ctx,
    )
    instance = importlib.import_module("lm_eval.api.instance").Instance
    requests = [
        instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i, metadata=("t", i, 1))
        for i, pair in enumerate(asked)
    ]
    began = time.perf_counter()
    found = model.loglikelihood(requests)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "answers": [[float(ll), bool(greedy)] for ll, greedy in found]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--bos", default="", help="true, false, or both with a comma; empty: the tokenizer's own way")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--n-ctx", type=int)
    given = parser.parse_args()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    importlib.import_module("torch").set_num_threads(given.threads)
    asked = pairs(given.requests)
    json.dump([answered(given, bos, asked) for bos in given.bos.split(",")], out)
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
