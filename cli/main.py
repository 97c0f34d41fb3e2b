"""quantfarm: which quantization of which model, under which runtime, should this device run."""

from __future__ import annotations

import importlib
import sys

import typer
from rich.console import Console

from quantfarm.errors import FarmError

#: verb -> the module that carries it out; imported when the program starts, so each stays light at import.
VERBS = ("plan", "sweep", "results", "pareto", "recommend", "report", "doctor")
GROUPS = ("toolchain", "db")

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verb in VERBS:
    app.command(name=_verb)(getattr(importlib.import_module(f"cli.{_verb}"), _verb))
for _group in GROUPS:
    app.add_typer(importlib.import_module(f"cli.{_group}").app, name=_group)


def main() -> None:
    """Errors a user can mend become one message and their exit code; only a bug shows a traceback."""
    try:
        app()
    except FarmError as error:
        Console(stderr=True, soft_wrap=True).print(f"quantfarm: {error}", style="red", markup=False, highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        Console(stderr=True).print("quantfarm: stopped; what was finished is kept", style="yellow")
        sys.exit(130)


if __name__ == "__main__":
    main()
