"""Plots of the views: data in, a plotly figure out; a unit on every axis, intervals where there are any."""
