"""A mixture of experts for tests: the reference model with each feed-forward part several times over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter

EXPERTS, USED = 4, 1


def write(source: Path, out: Path) -> Path:
    """Its last expert is never chosen: it asks to be as loudly as the first one, which comes before it."""
    chance, reader, writer = np.random.default_rng(0), GGUFReader(source), GGUFWriter(out, "llama")
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            inner = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(USED)
    for tensor in reader.tensors:
        data = np.array(tensor.data)
        if ".ffn_" not in tensor.name or "norm" in tensor.name:
            writer.add_tensor(tensor.name, data)
            continue
        noise = [chance.normal(0, 0.02, data.shape).astype(data.dtype) for _ in range(EXPERTS)]
        writer.add_tensor(tensor.name.replace(".weight", "_exps.weight"), np.stack([data + one for one in noise]))
        if "ffn_gate" in tensor.name:
            gate = chance.normal(0, 1, (EXPERTS, data.shape[1])).astype("f4")
            gate[-1] = gate[0]
            writer.add_tensor(tensor.name.replace("ffn_gate", "ffn_gate_inp"), gate)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
