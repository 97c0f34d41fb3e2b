"""Prefect's command line without its second UI: `python -m flows.prefect_server server start …`.

No setting of Prefect 3.8.8 leaves the pages under /v2 out; when they open, the browser asks an analytics host. Without
their files the server mounts the first UI alone, and that no longer offers to switch.
"""

from __future__ import annotations

from pathlib import Path

import prefect

if __name__ == "__main__":
    prefect.__ui_v2_static_path__ = Path(__file__) / "no-second-ui"

    from prefect.cli import app

    app()
