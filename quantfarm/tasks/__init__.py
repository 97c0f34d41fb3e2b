"""Tasks: questions with known answers. What a local folder holds, the built-in ones, and requests files.

Pure: no lm-eval here. What lm-eval makes of a task is `runners/lm_eval_tasks.py`'s business.
"""

from __future__ import annotations

#: The tasks that need no download: they are made from the held-out reference text.
CLOZE, NEAR, LINE = "reference_cloze", "reference_near", "reference_line"
BUILT_IN = (CLOZE, NEAR, LINE)

#: Documents of the published benchmark that a score of this name stands for.
WHOLE = {
    "arc_easy": 2376,
    "arc_challenge": 1172,
    "hellaswag": 10042,
    "lambada_openai": 5153,
    "mmlu": 14042,
    "openbookqa": 500,
    "piqa": 1838,
    "winogrande": 1267,
}


def figure(metric: str, task: str, n_shot: int, n_docs: int, whole: int) -> str:
    """The name of a task's figure: `acc_arc_easy`, `acc_norm_hellaswag_10shot`, `acc_mmlu_200of14042`.

    A score over fewer documents than the benchmark has is another figure under another name, so that no table
    can show it as the benchmark. `whole` 0: how many there are is not known, and what was asked is all there is.
    """
    shots = f"_{n_shot}shot" if n_shot else ""
    part = f"_{n_docs}of{whole}" if whole and n_docs != whole else ""
    return f"{metric}_{task}{shots}{part}"
