"""A flow run's process under `quantfarm up`: Prefect's engine, writing into a file.

Into a pipe to the serving process, the first line after that has died would end it: the log's console takes a broken
pipe for the end of the program. Run as `python -m flows.flow_process LOG`.
"""

from __future__ import annotations

import os
import runpy
import sys

if __name__ == "__main__":
    _log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for _stream in (1, 2):
        os.dup2(_log, _stream)
    os.close(_log)
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
