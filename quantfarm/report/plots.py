"""The plots of a device and model, as SVG text that is the same for the same data."""

from __future__ import annotations

from quantfarm.report.cliff_plot import cliff_svg
from quantfarm.report.pareto_plot import pareto_svg

__all__ = ["cliff_svg", "pareto_svg"]
