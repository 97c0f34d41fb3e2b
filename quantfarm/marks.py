"""What a label says of a speed workload beyond its sizes: the context parameters that are not the usual ones.

Values of one axis must be told apart by their labels; what is as usual is not said.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Parameter -> (what llama-bench has, its mark).
MARKS: Mapping[str, tuple[object, str]] = {
    "n_batch": (2048, "b{}"),
    "n_ubatch": (512, "ub{}"),
    "flash_attn": ("on", "fa-{}"),
    "type_k": ("f16", "k-{}"),
    "type_v": ("f16", "v-{}"),
    "n_gpu_layers": (0, "ngl{}"),
}
#: Kinds whose context has to be another one (perplexity's batch is its chunk) or is of no account.
UNMARKED = frozenset({"quality", "rolling", "tasks", "logits", "tokens"})


def marks(kind: str, settings: Mapping[str, object], cores: int = 0) -> str:
    """` b512 fa-off k-q8_0`; empty where all is as usual. With `cores`: also ` t4`, threads that are not as many."""
    if kind in UNMARKED:
        return ""
    said = [mark.format(settings[name]) for name, (usual, mark) in MARKS.items() if settings.get(name, usual) != usual]
    threads = settings.get("threads")
    said += [f"t{threads}"] if cores and threads not in (None, cores) else []
    return "".join(f" {one}" for one in said)


def unusual(settings: Mapping[str, object]) -> int:
    """How many parameters are not the usual ones."""
    deep = bool(settings.get("n_depth"))
    return deep + sum(settings.get(name, usual) != usual for name, (usual, _) in MARKS.items())
