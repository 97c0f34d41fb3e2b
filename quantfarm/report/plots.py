"""The plots of a device and model, as SVG text that is the same for the same data."""

from __future__ import annotations

from quantfarm.report.cliff_plot import cliff_svg
from quantfarm.report.pareto_plot import pareto_svg
from quantfarm.report.quality_plot import accuracy_svg, quality_svg, several_ways

__all__ = ["accuracy_svg", "cliff_svg", "pareto_svg", "quality_svg", "several_ways"]
