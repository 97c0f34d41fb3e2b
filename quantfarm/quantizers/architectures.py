"""Which models a tool has code for: read from the tool's own tables where its environment is made, never run.

Without the environment a list that is stated here: the plan is then as good as the list, and the tool has the last
word. An architecture is what a model's config.json names first, e.g. `LlamaForCausalLM`.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

#: Architecture -> model type, of transformers 5: those of linear layers that are stored one by one.
STATED: Mapping[str, str] = MappingProxyType(
    {
        "LlamaForCausalLM": "llama",
        "MistralForCausalLM": "mistral",
        "Qwen2ForCausalLM": "qwen2",
        "Qwen3ForCausalLM": "qwen3",
        "Phi3ForCausalLM": "phi3",
        "GemmaForCausalLM": "gemma",
        "Gemma2ForCausalLM": "gemma2",
        "Gemma3ForCausalLM": "gemma3_text",
        "GraniteForCausalLM": "granite",
        "Olmo2ForCausalLM": "olmo2",
        "SmolLM3ForCausalLM": "smollm3",
        "StableLmForCausalLM": "stablelm",
        "Starcoder2ForCausalLM": "starcoder2",
    }
)


def _assigned(path: Path, name: str) -> ast.expr | None:
    """The value that a module's source gives to a name."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return None
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and any(
            getattr(target, "id", "") == name for target in targets
        ):
            return node.value
    return None


@functools.cache
def causal_lms(packages: Path | None) -> Mapping[str, str]:
    """Architecture -> model type of what transformers loads as a causal language model."""
    found: dict[str, str] = {}
    if packages:
        table = _assigned(packages / "transformers/models/auto/modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")
        if isinstance(table, ast.Call) and table.args:
            pairs: list[tuple[str, Any]] = ast.literal_eval(table.args[0])
            for kind, classes in pairs:
                found.update(dict.fromkeys([classes] if isinstance(classes, str) else classes, kind))
    return MappingProxyType(found) if found else STATED


@functools.cache
def keys_of(path: Path, name: str) -> frozenset[str]:
    """The keys of a table of constants in a module's source; empty where there is none."""
    table = _assigned(path, name)
    keys = table.keys if isinstance(table, ast.Dict) else []
    return frozenset(str(key.value) for key in keys if isinstance(key, ast.Constant))


@functools.cache
def mlx_models(packages: Path | None) -> frozenset[str]:
    """Model types that mlx-lm has code for, those included that it reads as another; empty while nobody knows."""
    if not packages:
        return frozenset()
    modules = {path.stem for path in (packages / "mlx_lm/models").glob("*.py")}
    return frozenset(modules) | keys_of(packages / "mlx_lm/utils.py", "MODEL_REMAPPING") if modules else frozenset()


@functools.cache
def own_linear(packages: Path | None, kind: str) -> bool:
    """Whether a model's linear layers are transformers' Conv1D (GPT-2's way), which is no `nn.Linear`."""
    if not packages:
        return False
    try:
        return "Conv1D(" in (packages / f"transformers/models/{kind}/modeling_{kind}.py").read_text("utf-8")
    except OSError:
        return False


def named(facts: Mapping[str, Any]) -> str:
    """The architecture of a model; empty where it was not looked up."""
    return str(facts.get("architecture") or "")


def obstacle(facts: Mapping[str, Any], packages: Path | None, tool: str, *, conv1d: bool = False) -> str:
    """Why transformers cannot load a model as a causal language model, or `tool` find linear layers in it."""
    arch, known = named(facts), causal_lms(packages)
    if "architecture" in facts and not arch:
        return f"{tool} needs to know the architecture, and the model's config.json names none"
    if arch and arch not in known:
        return f"{tool} does not do {arch}: transformers has no causal language model of that name"
    if arch and not conv1d and own_linear(packages, known[arch]):
        return f"{tool} does not do {arch}: its layers are Conv1D, not Linear"
    return ""
