"""What somebody talks to, and how it answers: device, model, variants, system prompt, sampling."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from dashboard import asked, parts, store
from dashboard.chatting.servers import IDLE_MINUTES
from quantfarm import health, presets, profiles
from quantfarm.chat.sampling import Sampling
from quantfarm.chat.server_process import Wanted
from quantfarm.errors import FarmError
from quantfarm.health import Transition
from storage import catalogue
from storage.devices import Registry
from storage.reading import NoResults

LOCAL, REFERENCE = "local", "reference"
#: What can be made of any model: offered where nothing of it was measured.
USUAL = ("Q4_K_M", "Q8_0", "Q5_K_M", "Q3_K_M", "F16")


@dataclass(frozen=True, slots=True)
class Talk:
    """`wanted`: of the server; `pair`: two variants answer, and who is who is not shown."""

    wanted: Wanted
    sampling: Sampling
    system: str
    pair: bool


def talk() -> Talk:
    with st.container(border=True):
        device, model, runtime = _where()
        variants, pair = _variants(device, model)
        left, right = st.columns(2)
        with left, st.expander("How it answers"):
            sampling, system = _sampling(), _system()
        with right, st.expander("How it runs"):
            n_ctx, threads, layers = _running()
    wanted = Wanted(
        model=model,
        variants=tuple(dict.fromkeys(variants)),
        device=device,
        runtime=runtime,
        n_ctx=n_ctx,
        threads=threads,
        gpu_layers=layers,
        idle_minutes=IDLE_MINUTES,
    )
    return Talk(wanted, sampling, system, pair)


def _where() -> tuple[str, str, str]:
    ready, not_ready = devices()
    left, middle, right = st.columns(3)
    with left:
        device = asked.one("Device", "device", ready)
        for row in not_ready:
            st.caption(parts.escape(f"{row[0]} is {row[1].to}: {row[1].reason}"))
    with middle:
        model = asked.one("Model", "model", _models(), accept_new_options=True, help="Or a hub id, a folder, a .gguf.")
    with right:
        runtime = asked.text("Runtime", "runtime", placeholder="the device's own", help="Empty: the first that serves.")
    return device, model, runtime.strip()


def devices() -> tuple[list[str], list[tuple[str, Transition]]]:
    """Those that can be talked to, this machine first; and the others, each with its last change of state."""
    registry, ready, others = Registry(store.home()), [LOCAL], list[tuple[str, Transition]]()
    made_up = {one.name for one in profiles.load([store.home().root / "device_profiles"]).values() if one.simulated}
    for name in registry.names():
        last = registry.last(name)
        if name == LOCAL or name in made_up or last is None:
            continue
        if health.schedulable(last.to):
            ready.append(name)
        else:
            others.append((name, last))
    return ready, others


def _models() -> list[str]:
    try:
        found = [one.name for one in store.ask(catalogue.models) if not one.simulated]
    except NoResults:
        found = []
    return list(dict.fromkeys([*found, REFERENCE]))


def _variants(device: str, model: str) -> tuple[list[str], bool]:
    known = _measured(device, model)
    likely = [name for name in USUAL if name in known] or known
    pair = asked.whether("Two side by side, blind", "pair", help="Who is who is shown once you have marked both.")
    names = ["Variant", "Other variant"] if pair else ["Variant"]
    chosen: list[str] = []
    for number, (column, label) in enumerate(zip(st.columns(2), names, strict=False)):
        with column:
            usual = likely[number % len(likely)]
            key = "variant" if number == 0 else "other"
            chosen.append(asked.one(label, key, known, usual, accept_new_options=True))
    return chosen, pair


def _measured(device: str, model: str) -> list[str]:
    """Those of the model on this device, else on any, else the usual ones, which is said."""
    try:
        for only in ({"device": device, "model": model}, {"model": model}):
            found = [one.name for one in store.ask(catalogue.variants, **only) if one.ok]
            if found:
                return found
    except FarmError:
        pass
    st.caption(parts.escape(f"Nothing of {model} was measured yet (quantfarm sweep): these can be made of any model."))
    return list(USUAL)


def _sampling() -> Sampling:
    usual = Sampling()
    temperature = asked.number("Temperature", "temperature", 0.0, 2.0, usual.temperature, help="0: greedy.")
    top_p = asked.number("top_p", "top_p", 0.0, 1.0, usual.top_p)
    top_k = asked.number("top_k", "top_k", 0, 200, usual.top_k, help="0: all tokens.")
    penalty = asked.number("Repeat penalty", "repeat_penalty", 0.5, 2.0, usual.repeat_penalty, help="1: none.")
    longest = asked.number("Tokens at most", "max_tokens", 16, 4096, usual.max_tokens or 512)
    seed = asked.number("Seed", "seed", -1, 9999, -1, help="-1: another one each time.")
    return Sampling(
        temperature=temperature,
        top_p=top_p,
        top_k=int(top_k),
        repeat_penalty=penalty,
        max_tokens=int(longest),
        seed=int(seed) if seed >= 0 else None,
    )


def _system() -> str:
    names = list(presets.TABLE)
    name = asked.one("System prompt", "preset", names, words=lambda one: presets.TABLE[one].title)
    # A text area of its own for each preset: what was typed for one does not follow to another.
    return st.text_area("Its words", presets.TABLE[name].text, key=f"system prompt {name}", height=120)


def _running() -> tuple[int, int | None, int | None]:
    n_ctx = asked.number("Context (tokens)", "n_ctx", 256, 32768, 4096, step=256)
    threads = asked.number("Threads", "threads", 0, 64, 0, help="0: the device's physical cores.")
    layers = asked.number("GPU layers", "gpu_layers", -2, 128, -2, help="-2: all on a GPU that is there; 0: none.")
    return int(n_ctx), int(threads) or None, int(layers) if layers > -2 else None
