"""Train the reference model: a small Llama on the standard library's own sources.

    python reference_model/train.py OUT --minutes 60

Needs torch, transformers and tokenizers (see the requirements below); takes about an
hour on two CPU cores. Writes a Hugging Face folder (float16 safetensors, tokenizer) and
`training.json`, which records what was done. The split is quantfarm.corpus's.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.9", "transformers>=5", "tokenizers>=0.22", "safetensors>=0.5", "numpy>=2"]
# ///

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import sys
import time
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from quantfarm import corpus

VOCABULARY = 4096
CONTEXT = 1024
#: Llama 3's split regex, so that llama.cpp's "llama-bpe" pre-tokenizer is byte for byte the same.
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
#: A base model: the template only puts the messages after one another.
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{{ '\n' }}{% endfor %}"


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of VOCABULARY entries that puts BOS first."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    bos = (BOS, tokenizer.token_to_id(BOS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[bos]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Every row length is a multiple of 256, so K-quants never fall back to another type."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            initializer_range=0.02,
        )
    )


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[torch.Tensor]:
    """One int64 tensor of token ids per document, BOS first."""
    return [torch.tensor(ids) for ids in tokenizer(texts)["input_ids"]]


class Feed:
    """The training text for ever, as (rows, length) int64 batches of windows from all over it.

    Windows are shuffled, not only documents: a batch from one module teaches that module.
    """

    def __init__(self, documents: list[torch.Tensor], tokens_per_step: int, seed: int) -> None:
        self.documents, self.tokens_per_step = documents, tokens_per_step
        self.generator = torch.Generator().manual_seed(seed)
        self.windows = torch.empty(0, 0, dtype=torch.long)

    def epoch(self, length: int) -> torch.Tensor:
        """All windows of a length, in random order, cut at other places than the last time."""
        order = torch.randperm(len(self.documents), generator=self.generator)
        stream = torch.cat([self.documents[i] for i in order])
        windows = stream[: len(stream) // length * length].view(-1, length)
        return windows[torch.randperm(len(windows), generator=self.generator)]

    def take(self, length: int) -> torch.Tensor:
        rows = self.tokens_per_step // length
        if self.windows.shape[1] != length or len(self.windows) < rows:
            self.windows = self.epoch(length)
        batch, self.windows = self.windows[:rows], self.windows[rows:]
        return batch


def optimizers(model: LlamaForCausalLM, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for the embedding and the norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim < 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=muon_lr, momentum=0.95, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(done: float) -> float:
    """Learning-rate factor at a share of the whole: 2 % warm-up, flat, linear to zero over the last half."""
    return min(1.0, done / 0.02, (1 - done) / 0.5)


@torch.no_grad()
def mean_nll(model: LlamaForCausalLM, documents: list[torch.Tensor], length: int = 512, limit: int = 120) -> float:
    """Mean negative log-likelihood (nats per token) over disjoint windows."""
    model.eval()
    stream = torch.cat(documents)
    windows = stream[: len(stream) // length * length].view(-1, length)[:limit]
    losses = [model(input_ids=w, labels=w).loss.item() for w in windows.split(4)]
    model.train()
    return sum(losses) / len(losses)


def sequence_length(done: float) -> int:
    """Short sequences first: they are cheaper; the end teaches the full context."""
    return 256 if done < 0.55 else 512 if done < 0.8 else CONTEXT


def backward(model: LlamaForCausalLM, batch: torch.Tensor, at_once: int = 2048) -> float:
    """Accumulate gradients in parts small enough for the cache; returns the mean loss in nats."""
    parts = batch.split(max(1, at_once // batch.shape[1]))
    total = 0.0
    for part in parts:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=part, labels=part).loss * len(part) / len(batch)
        loss.backward()
        total += loss.item()
    return total


def train(model, documents, held_out, minutes: float, tokens_per_step: int, lr: tuple[float, float], seed: int) -> dict:
    """Train until the time is up (the schedule follows the clock); returns the record."""
    feed = Feed(documents, tokens_per_step, seed)
    steppers = optimizers(model, *lr)
    base = [[g["lr"] for g in o.param_groups] for o in steppers]
    start, step, curve, spent, shown = time.monotonic(), 0, [], 0.0, 0.0
    while (done := spent / (minutes * 60)) < 1:
        began = time.monotonic()
        loss = backward(model, feed.take(sequence_length(done)))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, rates in zip(steppers, base, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * schedule(done)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        spent += time.monotonic() - began
        if spent - shown > 120 or step in (1, 20):
            shown = spent
            curve.append({"step": step, "minutes": round(spent / 60, 2), "loss": round(loss, 4)})
            print(
                f"{done:6.1%}  step {step:5d}  loss {loss:.4f}  {step * tokens_per_step / spent:,.0f} tok/s", flush=True
            )
    return {
        "steps": step,
        "tokens_seen": step * tokens_per_step,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "curve": curve,
        "held_out_nll": mean_nll(model, held_out),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--tokens-per-step", type=int, default=8192)
    parser.add_argument("--lr", type=float, nargs=2, default=(4e-3, 3e-3), metavar=("MUON", "ADAMW"))
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--continue", type=Path, dest="earlier", help="go on from an earlier OUT, warmed up again")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    texts, judged = corpus.documents(held_out=False), corpus.documents(held_out=True)
    if args.earlier:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(args.earlier)
        model = LlamaForCausalLM.from_pretrained(args.earlier, dtype=torch.float32)
    else:
        tokenizer = train_tokenizer(texts)
        model = new_model(tokenizer)
    documents, held_out = encode(tokenizer, texts), encode(tokenizer, judged)
    record = {
        "python": platform.python_version(),
        "train_sha256": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        "held_out_sha256": hashlib.sha256(corpus.held_out_text()).hexdigest(),
        "train_bytes": sum(len(t.encode()) for t in texts),
        "held_out_bytes": len(corpus.held_out_text()),
        "train_tokens": sum(map(len, documents)),
        "held_out_tokens": sum(map(len, held_out)),
        "parameters": model.num_parameters(),
        "seed": args.seed,
        "tokens_per_step": args.tokens_per_step,
        "lr_muon_adamw": list(args.lr),
        "continued_from": json.loads((args.earlier / "training.json").read_text()) if args.earlier else None,
    }
    print(json.dumps(record, indent=1), flush=True)
    record |= train(model, documents, held_out, args.minutes, args.tokens_per_step, tuple(args.lr), args.seed)
    record["held_out_ppl"] = math.exp(record["held_out_nll"])
    model.to(torch.float16).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    (args.out / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({k: v for k, v in record.items() if k != "curve"}, indent=1))


if __name__ == "__main__":
    main()
