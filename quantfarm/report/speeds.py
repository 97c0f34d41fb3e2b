"""What of a device's section in BENCHMARK.md is about speed alone: under sustained load, and along axes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from quantfarm.report import axes_table
from quantfarm.report.axes_table import Axis
from quantfarm.report.depth_plot import depth_svg
from quantfarm.report.figures_table import escape
from quantfarm.report.slugs import slug
from quantfarm.report.throttle_plot import throttle_svg
from quantfarm.report.throttles import Throttle, in_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Of all devices and models; `of` one."""

    throttles: Sequence[Throttle] = ()
    axes: Sequence[Axis] = ()

    def of(self, device: str, model: str) -> Speeds:
        return Speeds(
            throttles=[one for one in self.throttles if (one.device, one.model) == (device, model)],
            axes=[one for one in self.axes if (one.device, one.model) == (device, model)],
        )

    def plots(self, name: str) -> dict[str, str]:
        """Path -> SVG; `name` is the start of the paths."""
        return {**self._throttles(name), **self._depths(name)}

    def _throttles(self, name: str) -> dict[str, str]:
        """One for each launch."""
        return {f"{name}-throttle-{slug(_whose(one))}.svg": throttle_svg(one) for one in self.throttles}

    def _depths(self, name: str) -> dict[str, str]:
        made: dict[str, str] = {}
        for axis in self.axes:
            with contextlib.suppress(ValueError):  # nothing to draw
                made[f"{name}-depth.svg"] = depth_svg(axis)
        return made

    def section(self, name: str) -> str:
        """Markdown; empty where there is nothing of the kind."""
        parts: list[str] = []
        if self.throttles:
            said = [
                f"- **{escape(one.variant)}** ({escape(one.build)}): {in_words(one.found)}" for one in self.throttles
            ]
            whose = zip(self.throttles, self._throttles(name), strict=True)
            shown = [
                f"![{escape(one.variant)} under sustained load on {escape(one.device)}]({path})" for one, path in whose
            ]
            parts += ["### Sustained load", "\n".join(said), "\n\n".join(shown)]
        parts += [axes_table.section(axis) for axis in self.axes]
        return "\n\n".join([*parts, *(f"![speed by depth]({path})" for path in self._depths(name))])


def _whose(one: Throttle) -> str:
    return f"{one.variant} {one.build}"
