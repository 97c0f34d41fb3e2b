"""Tasks through lm-eval: what a task asks of a model (`requests`), and lm-eval's own results of answers (`results`).

    python -P lm_eval_tasks.py --request '{"kind": "requests", "task": "arc_easy", "out": "arc_easy.jsonl", ...}'

Runs on the machine that plans, in an environment of its own without torch; prints the events of docs/events.md.
`data`: local rows in lm-eval's terms, [{name, group, shape, test, dev}] (paths of JSON lines); none: from the hub.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["lm-eval>=0.4.13", "numpy>=2.0"]
# ///

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SCHEMA = 1
METRICS = ("acc", "acc_norm")
#: Where lm-eval's answers would go if this program let it: it never downloads code.
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
ALWAYS = {
    **{"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"},
    **{"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "20", "HF_HUB_ETAG_TIMEOUT": "20"},
    **{"TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"},
}
COMMON = {
    "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in METRICS],
    "metadata": {"version": 1.0},
}
LETTERS = "\n".join(f"{letter}. {{{{choices[{i}]}}}}" for i, letter in enumerate("ABCD"))
#: shape -> lm-eval's definition of such rows. That of MMLU is lm-eval's own (tasks/mmlu/default).
SHAPES: dict[str, dict[str, Any]] = {
    "choices": {
        **COMMON,
        **{"output_type": "multiple_choice", "doc_to_text": "text", "doc_to_choice": "choices"},
        "doc_to_target": "gold",
    },
    "contexts": {
        **COMMON,
        **{"output_type": "multiple_choice", "doc_to_text": "gold", "doc_to_choice": "contexts"},
        **{"doc_to_target": "continuation", "metric_list": COMMON["metric_list"][:1]},
    },
    "greedy": {
        **COMMON,
        **{"output_type": "loglikelihood", "doc_to_text": "context", "doc_to_target": "{{' ' + continuation}}"},
        **{"target_delimiter": "", "metric_list": COMMON["metric_list"][:1]},
    },
    "mmlu": {
        **COMMON,
        **{"output_type": "multiple_choice", "doc_to_text": f"{{{{question.strip()}}}}\n{LETTERS}\nAnswer:"},
        **{"doc_to_choice": ["A", "B", "C", "D"], "doc_to_target": "answer"},
        **{"fewshot_config": {"sampler": "first_n"}, "metric_list": COMMON["metric_list"][:1]},
    },
}


class Failure(Exception):
    """At which stage, and why in one line."""

    def __init__(self, stage: str, error: str) -> None:
        super().__init__(error)
        self.stage, self.error = stage, " ".join(error.split())


# ------------------------------------------------------------------ events


class Events:
    """JSON lines on what was stdout; whatever else writes to stdout lands on stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="ascii")
        os.dup2(2, 1)

    def emit(self, event: str, **fields: Any) -> None:
        self._out.write(json.dumps({"event": event, "t": time.monotonic_ns(), **fields}, allow_nan=False) + "\n")
        self._out.flush()


_unfinished: set[Path] = set()
#: Set once stdin has closed: the watcher alone ends the process then.
_cut = threading.Event()


def watch_stdin() -> None:
    """The lifeline: when it closes, nobody listens any more."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        _cut.set()
        for path in list(_unfinished):
            take_away(path)
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def take_away(path: Path) -> None:
    """A file, or a folder into which the main thread may be writing meanwhile."""
    for _ in range(40):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if not path.exists():
            return
        time.sleep(0.01)


def hold() -> None:
    """Keeps a main thread that lost its folder from ending the process in the middle of the cleaning up."""
    if _cut.is_set():
        threading.Event().wait()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes with the process, however that ends."""
    folder = Path(tempfile.mkdtemp(prefix="tasks-"))
    _unfinished.add(folder)
    try:
        yield folder
    finally:
        hold()
        shutil.rmtree(folder, ignore_errors=True)
        hold()
        _unfinished.discard(folder)


def write_whole(path: Path, data: bytes) -> None:
    """The file with this content, or none."""
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _unfinished.add(part)
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise Failure("run", f"{path} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)
        _unfinished.discard(part)


# ------------------------------------------------------------------ lm-eval's tasks


def definitions(data: Sequence[Mapping[str, Any]], task: str, folder: Path) -> None:
    """lm-eval's YAML (which JSON is) of local rows, in a folder that its TaskManager is given."""
    for one in data:
        files = {"test": one["test"]} | ({"dev": one["dev"]} if one.get("dev") else {})
        kwargs = {"data_files": files, "cache_dir": str(folder / "cache")}
        made = {"task": one["name"], "dataset_path": "json", "dataset_kwargs": kwargs, "test_split": "test"}
        made |= SHAPES[one["shape"]] | ({"fewshot_split": "dev"} if one.get("dev") else {})
        if one["shape"] == "mmlu":
            about = one["group"].replace("_", " ")
            made["description"] = f"The following are multiple choice questions (with answers) about {about}.\n\n"
        (folder / f"{one['name']}.yaml").write_text(json.dumps(made))
    if task not in [one["name"] for one in data]:
        group = {"group": task, "task": [one["name"] for one in data], "metadata": {"version": 1}}
        group["aggregate_metric_list"] = [{"metric": "acc", "weight_by_size": True}]
        (folder / f"{task}.yaml").write_text(json.dumps(group))


class Asked:
    """A task as lm-eval has it: its leaves (itself, or MMLU's subjects), and what a run of them gave."""

    def __init__(self, request: Mapping[str, Any], folder: Path) -> None:
        self.task, self.n_shot = str(request["task"]), int(request.get("n_shot") or 0)
        self.limit, data = request.get("limit"), request.get("data")
        if data:
            definitions(data, self.task, folder)
        manager = importlib.import_module("lm_eval.tasks").TaskManager
        local = {"include_path": str(folder), "include_defaults": False}
        self.manager = manager(**local) if data else manager()
        if self.task not in self.manager.all_tasks:
            raise Failure("request", f"lm-eval {version()} has no task {self.task}")
        self.groups = {one["name"]: one["group"] for one in data or ()}
        try:
            self.leaves: dict[str, Any] = self.manager.load([self.task])["tasks"]
        except Exception as error:  # whatever the hub's client raises
            raise Failure("load", f"the data of {self.task} cannot be had: {type(error).__name__}: {error}") from error

    def group(self, leaf: str) -> str:
        """MMLU's subject; empty for a task that has none."""
        return "" if leaf == self.task else self.groups.get(leaf) or leaf.removeprefix(f"{self.task}_")

    def run(self, model: Any, errors: bool = False) -> dict[str, Any]:
        """`errors`: with standard errors, which lm-eval leaves out where it is asked for no bootstrap."""
        found = importlib.import_module("lm_eval").simple_evaluate(
            model=model,
            tasks=[self.task],
            task_manager=self.manager,
            num_fewshot=self.n_shot,
            limit=self.limit,
            bootstrap_iters=100 if errors else 0,
        )
        return dict(found)


def version() -> str:
    from importlib import metadata

    return metadata.version("lm-eval")


def model_of(answers: Mapping[tuple[str, str], tuple[float, bool]] | None) -> Any:
    """`FarmLM`: answers from what was scored already; with None it says zero to everything.

    It has no tokenizer: only log-likelihoods of whole continuations were kept, so rolling ones and generation are
    refused rather than made up.
    """
    template: Any = importlib.import_module("lm_eval.api.model").TemplateLM

    class FarmLM(template):
        def __init__(self) -> None:
            super().__init__()

        @property
        def eot_token_id(self) -> int:
            return 0

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
            """Bytes: lm-eval only hands them back."""
            del add_special_tokens, kwargs
            return [byte + 1 for byte in string.encode()]

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            """By the texts themselves: they need not be cut into tokens to be found."""
            pairs = [(request.args, [], []) for request in requests]
            return self._loglikelihood_tokens(pairs, disable_tqdm=disable_tqdm)

        def _loglikelihood_tokens(self, requests: list[Any], **kwargs: Any) -> list[tuple[float, bool]]:
            del kwargs
            if answers is None:
                return [(0.0, False)] * len(requests)
            missing = next((pair for pair, _, _ in requests if pair not in answers), None)
            if missing:
                raise Failure("run", f"the answers lack one to {missing[0][-60:]!r} {missing[1][:60]!r}")
            return [answers[pair] for pair, _, _ in requests]

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
            del requests, disable_tqdm
            raise Failure("run", "the answers hold continuations: perplexity is measured by a `rolling` workload")

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            del requests, disable_tqdm
            raise Failure("run", "the answers hold log-likelihoods: nothing was generated")

    return FarmLM()


# ------------------------------------------------------------------ requests


def lines_of(asked: Asked) -> list[dict[str, Any]]:
    """Every document with its requests, as lm-eval built them."""
    samples = asked.run(model_of(None))["samples"]
    lines: list[dict[str, Any]] = []
    for leaf in asked.leaves:
        for sample in sorted(samples[leaf], key=lambda one: one["doc_id"]):
            lines.append({"doc": len(lines), **line_of(asked.leaves[leaf], sample), "group": asked.group(leaf)})
    return lines


def line_of(task: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
    contexts, continuations = zip(*sample["arguments"], strict=True)
    same = len(set(contexts)) == 1
    return {
        "doc_hash": sample["doc_hash"],
        "context": contexts[0] if same else list(contexts),
        "continuations": list(continuations),
        "lengths": lengths_of(task, sample["doc"], continuations),
        "gold": gold_of(task, sample["doc"], len(continuations)),
    }


def lengths_of(task: Any, doc: Any, continuations: Sequence[str]) -> list[int]:
    """Characters of each choice, without the delimiter: what acc_norm divides by."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return [len(text) for text in continuations]
    return [len(choice) for choice in task.doc_to_choice(doc)]


def gold_of(task: Any, doc: Any, n: int) -> int:
    """The right choice, by asking lm-eval: the one whose being likeliest it counts as correct."""
    if n == 1:
        return 0
    for i in range(n):
        results = [(0.0 if i == k else -1e6, False) for k in range(n)]
        if task.process_results(doc, results)["acc"] == 1.0:
            return i
    raise Failure("run", f"lm-eval counts no choice as right: {str(doc)[:120]}")


def requests(request: Mapping[str, Any], events: Events) -> None:
    out = Path(str(request["out"]))
    with scratch() as folder:
        asked = Asked(request, folder)
        lines = lines_of(asked)
        n_docs = sum(len(task.eval_docs) for task in asked.leaves.values())
        first = next(iter(asked.leaves.values()))
        kept = [name for name in METRICS if name in first.aggregation()]
        head = {
            **{"task": asked.task, "version": str(first.VERSION), "n_shot": asked.n_shot, "limit": asked.limit},
            **{"n_docs": len(lines), "of_docs": n_docs, "whole": request.get("whole") or n_docs},
            **{"metrics": kept, "source": request.get("source") or "hub", "lm_eval": version()},
        }
        write_whole(out, b"".join(json.dumps(line).encode() + b"\n" for line in (head, *lines)))
    events.emit("result", out=str(out), **head)


# ------------------------------------------------------------------ results


def json_lines(path: str) -> Iterable[dict[str, Any]]:
    with Path(path).open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def answers_of(requests_path: str, items_path: str) -> dict[tuple[str, str], tuple[float, bool]]:
    """(context, continuation) -> (log-likelihood in nats, greedy)."""
    items = {item["doc_hash"]: item for item in json_lines(items_path) if item.get("event") == "item"}
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    for line in json_lines(requests_path):
        if "doc_hash" not in line or line["doc_hash"] not in items:
            continue
        item, given, ends = items[line["doc_hash"]], line["context"], line["continuations"]
        contexts = given if isinstance(given, list) else [given] * len(ends)
        for pair, ll, greedy in zip(zip(contexts, ends, strict=True), item["ll"], item["greedy"], strict=True):
            found[pair] = (ll, greedy)
    return found


def results(request: Mapping[str, Any], events: Events) -> None:
    out = Path(str(request["out"]))
    answers = answers_of(str(request["requests"]), str(request["items"]))
    with scratch() as folder:
        found = Asked(request, folder).run(model_of(answers), errors=True)
    kept = {name: found[name] for name in ("results", "groups", "n-samples", "versions", "n-shot") if name in found}
    kept["samples"] = found["samples"]
    write_whole(out, json.dumps(kept, default=str).encode())
    events.emit("result", out=str(out), results=json.loads(json.dumps(found["results"], default=str)))


# ------------------------------------------------------------------ main

KINDS = {"requests": requests, "results": results}


def begin(events: Events) -> None:
    """The first event, also where lm-eval is not installed."""
    found, missing = {"python": platform.python_version()}, ""
    try:
        found["lm-eval"] = version()
    except ImportError as error:
        missing = f"lm-eval is not installed here: {error}"
    system, about = platform.platform(), {"schema": SCHEMA, "clock": "monotonic_ns", "runner": "lm_eval_tasks"}
    events.emit("begin", **about, versions=found, system=system, pid=os.getpid())
    if missing:
        raise Failure("start", missing)


def answer(text: str, events: Events) -> None:
    begin(events)
    try:
        request = json.loads(text)
        kind = KINDS[request["kind"]]
    except (ValueError, TypeError, KeyError) as error:
        raise Failure("request", f"no request of a known kind ({', '.join(KINDS)}): {error}") from error
    os.environ.update(ALWAYS | (OFFLINE if request.get("data") or request.get("offline") else {}))
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    kind(request, events)


def main() -> int:
    parser = argparse.ArgumentParser(description="tasks through lm-eval; see docs/events.md")
    parser.add_argument("--request", required=True, help="the request as JSON")
    request = parser.parse_args().request
    events = Events()
    watch_stdin()
    try:
        answer(request, events)
    except Failure as error:
        events.emit("end", ok=False, stage=error.stage, error=error.error, retryable=False)
        return 1
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        events.emit("end", ok=False, stage="run", error=reason, retryable=False)
        return 1
    events.emit("end", ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
