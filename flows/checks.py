"""Check devices: canaries that keep a device ready, send it away, or bring it back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from agents import AgentError, agent
from flows import canary, devices
from flows.canary import Question
from flows.station import Station, leased
from flows.steps import Tell, Teller
from flows.stopping import Stopped
from quantfarm import health
from quantfarm.errors import FarmError, UsageError, unknown
from quantfarm.health import By, Canary, DeviceState, NotAllowed
from quantfarm.nouns import DeviceProfile
from storage.devices import Registry
from storage.fencing import Fenced
from storage.home import Home

#: Devices checked side by side.
AT_ONCE = 8
S = DeviceState


class NotWell(FarmError):
    """A device did not pass its check; its record says so already."""

    def __init__(self, device: str, state: object, reason: str) -> None:
        super().__init__(f"{device} is {state}: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How a check of a device ended."""

    device: str
    state: DeviceState
    text: str

    @property
    def ok(self) -> bool:
        return self.state is S.READY


def never() -> bool:
    """Nobody asks to stop."""
    return False


def registered(home: Home, *, held: bool = True) -> list[str]:
    """Devices that can be checked: those with a record and a profile that are not retired.

    `held`: also those that a person has quarantined (whose check only says so).
    """
    registry, known = Registry(home), devices.known(home)
    found = [name for name in registry.names() if name in known and registry.state(name) is not S.RETIRED]
    return [name for name in found if held or not health.held(registry.history(name))]


def check(home: Home, names: Sequence[str], tell: Tell, stopped: Callable[[], bool] = never) -> list[Checked]:
    """Checks devices side by side; none named: all registered ones. Raises UsageError for unknown names, Stopped."""
    known = devices.known(home)
    for name in names:
        if name not in known:
            raise unknown("device", name, (p.name for p in known.values() if not p.template))
        if known[name].template:
            raise UsageError(f"'{name}' is a template to copy from, not a device")
    chosen = [known[name] for name in dict.fromkeys(names or registered(home))]
    if not chosen:
        return []
    asked = canary.question(home, known[devices.LOCAL], Teller(devices.LOCAL, tell).waiting)

    stop = threading.Event()

    def one(profile: DeviceProfile) -> Checked:
        return check_one(home, profile, asked, Teller(profile.name, tell), lambda: stop.is_set() or stopped())

    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(chosen))) as pool:
        try:
            return list(pool.map(one, chosen))
        except BaseException:
            stop.set()
            raise


def check_one(
    home: Home, profile: DeviceProfile, asked: Question, told: Teller, stopped: Callable[[], bool] = never
) -> Checked:
    """One device; what it did wrong is its state and no exception. Raises Stopped, Fenced."""
    registry, name = Registry(home), profile.name
    rows = registry.history(name)
    if not rows:
        registry.move(name, S.REGISTERED, "its first check", By.FARM)
    elif health.held(rows) or rows[-1].to is S.RETIRED:
        return Checked(device=name, state=rows[-1].to, text=health.obstacle(rows, S.CHECKING, By.FARM))
    try:
        told.step("connecting")
        now = agent(_as_it_is_now(profile, told))
        try:
            with leased(now, "a check of the device", waits(told, stopped)) as station:
                reason = proven(home, station, asked, told, stopped)
        finally:
            now.close()
        registry.move(name, S.READY, reason, By.FARM)
    except AgentError as error:
        registry.failed(name, f"{error.stage}: {error}")
        reason = str(error)
    except NotWell as error:
        reason = error.reason
    except NotAllowed as error:  # a person has decided something meanwhile
        reason = str(error)
    state = registry.state(name)
    assert state
    return Checked(device=name, state=state, text=reason)


def proven(home: Home, station: Station, asked: Question, told: Teller, stopped: Callable[[], bool] = never) -> str:
    """As many clean canaries as the device needs to be ready; what they measured, as the reason for that.

    Raises NotWell with the device sent away, and Stopped and Fenced with the device as it was before.
    """
    registry, name = Registry(home), station.profile.name
    registry.move(name, S.CHECKING, "a check", By.FARM)
    wanted = max(1, health.clean_needed(registry.history(name)))
    text = ""
    try:
        for number in range(1, wanted + 1):
            told.step("canary" if wanted == 1 else f"canary {number} of {wanted}", canary.ABOUT_S)
            taken = canary.run(home, station, asked, stopped)
            if not taken.clean:
                registry.drifted(name, taken.why)
                raise NotWell(name, S.QUARANTINED, taken.why)
            text = describe(taken)
            told.found(text)
    except canary.Failed as error:
        registry.failed(name, str(error))
        raise NotWell(name, registry.state(name), str(error)) from error
    except (Stopped, Fenced, KeyboardInterrupt):
        _give_up(registry, name)
        raise
    return f"{wanted} clean {'canary' if wanted == 1 else 'canaries'}: {text}"


def _give_up(registry: Registry, name: str) -> None:
    """A check that was stopped leaves the device as it was before."""
    rows = registry.history(name)
    before = health.settled(rows)
    if rows[-1].to is S.CHECKING and before:
        why = next(row.reason for row in reversed(rows) if row.to is before)
        registry.move(name, before, f"the check was stopped; before it: {why}", By.FARM)


def _as_it_is_now(profile: DeviceProfile, told: Teller) -> DeviceProfile:
    """The profile with the system that the device has today: canaries are compared within one. Raises AgentError."""
    reached = agent(profile)
    try:
        facts: Mapping[str, Any] = reached.probe()
    finally:
        reached.close()
    for key in ("os", "chip", "cores"):
        was, now = getattr(profile, key), facts.get(key)
        if was and now and was != now:
            told.warning(f"its {key} is now {now}, its profile says {was}: register it again when that is to stay")
    return replace(profile, os=str(facts.get("os") or profile.os))


def waits(told: Teller, stopped: Callable[[], bool]) -> Callable[[str], None]:
    """Says once for whom a lease waits, and gives up when asked to."""
    said: list[str] = []

    def on_wait(who: str) -> None:
        if stopped():
            raise Stopped("stopped while waiting for the device")
        if who not in said:
            said.append(who)
            told.waiting(who)

    return on_wait


def describe(canary: Canary) -> str:
    """`prefill 512 tok/s, decode 48.2 tok/s, perplexity 7.995`."""
    words = {"bench_pp": "prefill {} tok/s", "bench_tg": "decode {} tok/s", "ppl": "perplexity {}"}
    return ", ".join(text.format(figure(canary.figures[key])) for key, text in words.items() if key in canary.figures)


def figure(value: float) -> str:
    """Four digits, never as a power of ten."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"
