"""What other tools print. Where there is a recording it lies in the test data; the others are these.

`MLX_BENCHMARK`, `MLX_GENERATE`: printed by mlx_lm 0.32.2 on a CPU. `LM_EVAL`: written by lm_eval 0.4.13, shortened.
`MLPERF`, `OPTIMUM`: no recording was to be had; made after the writers of MLPerf Client 2.0 (ExportResultsToCSV) and of
optimum-benchmark 0.5 (its report classes), with figures of no machine.
"""

from __future__ import annotations

import json
from typing import Any

MLX_BENCHMARK = """\
Running warmup..
Timing with prompt_tokens=64, generation_tokens=32, batch_size=1.
Trial 1:  prompt_tps=139.590, generation_tps=20.462, peak_memory=0.013, total_time=2.023
Trial 2:  prompt_tps=247.922, generation_tps=34.741, peak_memory=0.013, total_time=1.179
Trial 3:  prompt_tps=252.576, generation_tps=54.331, peak_memory=0.013, total_time=0.843
Averages: prompt_tps=213.363, generation_tps=36.511, peak_memory=0.013
"""

MLX_GENERATE = '''\
==========
"Author: <achema: <achema@python.org>

"""Author:
==========
Prompt: 7 tokens, 104.373 tokens-per-sec
Generation: 24 tokens, 55.449 tokens-per-sec
Peak memory: 0.012 GB
'''

LM_EVAL = """\
{
  "results": {
    "toy_cloze": {
      "name": "toy_cloze",
      "alias": "toy_cloze",
      "sample_len": 8,
      "acc,none": 0.25,
      "acc_stderr,none": 0.16366341767699427,
      "acc_norm,none": 0.25,
      "acc_norm_stderr,none": 0.16366341767699427
    }
  },
  "group_subtasks": {},
  "configs": {
    "toy_cloze": {
      "task": "toy_cloze",
      "num_fewshot": 0
    }
  },
  "versions": {
    "toy_cloze": 1.0
  },
  "n-shot": {
    "toy_cloze": 0
  },
  "n-samples": {
    "toy_cloze": {
      "original": 8,
      "effective": 8
    }
  },
  "config": {
    "model": "dummy",
    "model_args": {},
    "batch_size": 1,
    "device": "cuda:0",
    "limit": null,
    "gen_kwargs": {},
    "random_seed": 0
  },
  "git_hash": null,
  "date": 1796044685.8362055,
  "lm_eval_version": "0.4.13",
  "model_name": "a model"
}
"""

MLPERF = """\
EP,,,WindowsML,NativeQNN
Device,,,GPU,NPU
Scenario,,,Llama 3.1 8B Instruct,Llama 3.1 8B Instruct
Date,,,2026-01-15 10:00:00,2026-01-15 11:00:00
Tested By MLCommons,,,Yes,No
Config Category,,,base,base
System Info,,,"CPU: A chip (x86_64);RAM: 32 GB;GPU: A card;VRAM: 8 GB;OS: Windows 11",CPU: Another chip;RAM: 16 GB
Overall
,,TTFT (seconds),1.25,
,,TPS,40.5,
Code Analysis
,,TTFT (seconds),2.50,3.75
,,TPS,39.5,0.0
Agentic
,,Avg Expected Duration (seconds),12.345,
,,Avg Tools Duration (seconds),1.234,
"""


def latency(*values: float) -> dict[str, Any]:
    mean = sum(values) / len(values)
    deviation = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    middle = sorted(values)[len(values) // 2]
    return {
        **{"unit": "s", "values": list(values), "count": len(values), "total": sum(values), "mean": mean},
        **{"p50": middle, "p90": max(values), "p95": max(values), "p99": max(values)},
        **{"stdev": deviation, "stdev_": 100 * deviation / mean},
    }


def optimum(batch: int = 1) -> str:
    ram = {"unit": "MB", "max_ram": 1048.576, "max_global_vram": None, "max_process_vram": None}
    nothing = dict.fromkeys(("memory", "latency", "throughput", "energy", "efficiency"))
    report = {
        "load_model": nothing | {"latency": latency(15.5), "memory": ram},
        "prefill": nothing | {"latency": latency(0.25, 0.5, 0.75), "throughput": {"unit": "samples/s", "value": 2.0}},
        "decode": nothing
        | {
            "latency": latency(1.0, 2.0, 3.0),
            "throughput": {"unit": "tokens/s", "value": 49.5},
            "energy": {"unit": "kWh", "cpu": 1e-6, "ram": 0.0, "gpu": None, "total": 1e-6},
        },
        "per_token": nothing | {"latency": latency(0.02, 0.02, 0.02)},
    }
    config = {
        "name": "a benchmark",
        "backend": {
            "name": "pytorch",
            "version": "2.6.0",
            "model": "org/a-model",
            "device": "cuda",
            "dtype": "float16",
        },
        "scenario": {
            "name": "inference",
            "input_shapes": {"batch_size": batch, "sequence_length": 128},
            "generate_kwargs": {"max_new_tokens": 100},
        },
        "environment": {"cpu": " A CPU", "gpu": ["A card"], "optimum_benchmark_version": "0.5.0"},
    }
    return json.dumps({"config": config, "report": report}, indent=4)


OPTIMUM = optimum()
