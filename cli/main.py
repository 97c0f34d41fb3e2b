"""quantfarm: which quantization of which model, under which runtime, should this device run."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable

import typer
from rich.console import Console

from quantfarm.errors import FarmError

#: Each verb is the function of its name in the module of its name (- is _); a group is a module with an `app`.
VERBS = (
    *("plan", "sweep", "fits", "ask", "ratings", "results", "pareto", "recommend", "report", "doctor"),
    *("chat-server", "serve", "up", "dashboard", "export", "import"),
)
GROUPS = ("toolchain", "db", "agent", "device", "nightly")
#: Names that no Python function can have -> the function.
RENAMED = {"import": "import_file"}

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def quantfarm() -> None:
    """Which quantization of which model, under which runtime, should this device run."""


def add(names: Iterable[str]) -> None:
    """Import the modules of these verbs and groups, and make them known."""
    for name in names:
        plain = RENAMED.get(name, name.replace("-", "_"))
        module = importlib.import_module(f"cli.{plain}")
        if name in GROUPS:
            app.add_typer(module.app, name=name)
        else:
            app.command(name=name)(getattr(module, plain))


def main() -> None:
    """Errors a user can mend become one message and their exit code; only a bug shows a traceback."""
    known = (*VERBS, *GROUPS)
    # Only what was asked for is imported: a verb should not wait for the plots of another.
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    add([asked] if asked in known else known)
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
