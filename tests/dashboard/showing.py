"""A view as Streamlit runs it, without a browser: what it says, and what goes wrong in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard import views
from tests.conftest import ROOT

APP = ROOT / "dashboard" / "app.py"
#: A view is shown within a second; the machine may be busy.
PATIENCE_S = 60
#: Elements that hold text, by AppTest's names.
TEXTS = ("title", "caption", "markdown", "warning", "error", "info", "success", "code", "text", "metric", "subheader")


def show(home: Path, view: str = "overview", **choices: str | list[str]) -> AppTest:
    """The view over the results of `home`, which QUANTFARM_HOME names, as an address with these choices opens it."""
    st.cache_resource.clear()  # homes of other tests have versions of the same number
    shown = AppTest.from_file(str(APP), default_timeout=PATIENCE_S)
    shown.switch_page(str(views.path(view).relative_to(APP.parent)))
    for name, value in choices.items():
        shown.query_params[name] = value
    assert home.name  # the fixture `home` has set it
    return shown.run()


def words(shown: AppTest) -> str:
    """Everything that is said in it. Raises AssertionError where the view broke."""
    broken = [f"{one.message}\n{''.join(one.stack_trace)}" for one in shown.exception]
    assert not broken, "\n".join(broken)
    return "\n".join(_text(one) for kind in TEXTS for one in getattr(shown, kind))


def plainly(shown: AppTest) -> str:
    """The same as somebody reads it: without the marks that keep Markdown from taking names for markup."""
    return words(shown).replace("\\", "")


def _text(element: Any) -> str:
    label = getattr(element, "label", "") or ""
    return f"{label} {element.value}".strip()
