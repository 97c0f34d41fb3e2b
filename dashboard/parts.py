"""What views are built of: empty states, conditions, plots with their downloads, links from one to another."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.parquet as pq
import streamlit as st

from dashboard import views
from dashboard.theme import styled
from quantfarm.report.slugs import slug

Row = Mapping[str, Any]
PICTURE = "format of pictures"
SIMULATED = "**Simulated device.** Its figures are made up by a script to try the farm out: nothing was measured."


def empty(what: str, command: str = "", why: str = "") -> None:
    """What there is not yet, and the command that makes it."""
    with st.container(border=True):
        st.markdown(f"**{escape(what)}**" + (f"  \n{escape(why)}" if why else ""))
        if command:
            st.code(command, language="sh")


def simulated() -> None:
    st.warning(SIMULATED)


def conditions(said: Sequence[str]) -> None:
    """Under which conditions figures hold: a number is not shown without them."""
    if said:
        st.caption("Conditions: " + " · ".join(escape(one) for one in said if one))


def escape(text: str) -> str:
    """Text of the world (names, reasons) as Markdown shows it literally: no markup, no HTML, no formula, no emoji."""
    return "".join("\\" + c if c in "\\`*_{}[]()<>#+-.!|$~:&" else c for c in text.replace("\n", " "))


def to(view: str, label: str, **choices: str | Sequence[str]) -> None:
    """A link to another view with its choices."""
    query = {key: value for key, value in choices.items() if value not in ("", (), [])}
    st.page_link(str(views.path(view)), label=escape(label), query_params=query)


def plot(
    figure: go.Figure,
    name: str,
    alt: str,
    rows: Sequence[Row] = (),
    *,
    key: str | None = None,
    selectable: bool = False,
) -> Any:
    """A plot with its downloads: `rows` are what it shows, `name` what files of it are called, `alt` what somebody
    hears who does not see it. `selectable`: returns what was clicked, each point's `customdata`."""
    picture = st.session_state.get(f"{PICTURE} {name}") or "png"
    config = {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": picture, "filename": slug(name), "scale": 2},
        "responsive": True,
    }
    more: dict[str, Any] = {"on_select": "rerun", "selection_mode": "points"} if selectable else {}
    chosen = st.plotly_chart(styled(figure), key=key or name, config=config, alt=alt, **more)
    downloads(name, rows, picture=True)
    return _clicked(chosen) if selectable else None


def _clicked(chosen: Any) -> list[Any]:
    points = chosen["selection"]["points"] if chosen else []
    return [point["customdata"] for point in points if point.get("customdata")]


def downloads(name: str, rows: Sequence[Row], *, picture: bool = False) -> None:
    """CSV and Parquet of the rows; of a plot also the format that its camera saves in."""
    with st.popover("Download", type="tertiary"):
        if picture:
            st.segmented_control(
                "The camera above the plot saves", ["png", "svg"], default="png", key=f"{PICTURE} {name}",
                format_func=str.upper, required=True,
            )  # fmt: skip
        if rows:
            file, table = slug(name), as_table(rows)
            for kind, (made, mime) in TABLES.items():
                key = f"{kind} of {name}"
                st.download_button(
                    kind, _later(made, table), f"{file}.{kind.lower()}", mime, key=key, on_click="ignore"
                )


def _later(make: Callable[[pa.Table], bytes], table: pa.Table) -> Callable[[], bytes]:
    """Made when somebody asks for it."""
    return lambda: make(table)


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Columns in the order of the first row; what is no plain value as JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.Table.from_pylist([{name: _plain(row.get(name)) for name in names} for row in rows])


def _plain(value: Any) -> Any:
    plain = value is None or isinstance(value, str | int | float | bool)
    return value if plain or hasattr(value, "isoformat") else json.dumps(value, ensure_ascii=False, default=str)


def csv(table: pa.Table) -> bytes:
    from pyarrow import csv as arrow_csv  # noqa: PLC0415 - asked for by few

    out = io.BytesIO()
    arrow_csv.write_csv(table, out)
    return out.getvalue()


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


#: Format of a table -> how it is made, its media type.
TABLES = {"CSV": (csv, "text/csv"), "Parquet": (parquet, "application/vnd.apache.parquet")}
