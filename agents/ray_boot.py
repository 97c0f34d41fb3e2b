"""`ray start` as a process of ours: it ends when its stdin does, and stays on loopback when told to.

Ray takes 127.0.0.1 for "the address that others reach me by", and then listens on every interface. A switch
of its own for Macs keeps it on loopback, but lets only a head start; so a joining node gets its address here.
(Private names of Ray, therefore `agents.ray_cluster` looks at what is really listened on.)
"""

from __future__ import annotations

import os
import signal
import sys
import threading

#: Ray's switch: off means loopback.
CLUSTER = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
LOOPBACK = "127.0.0.1"


def _watch_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: list[str]) -> None:
    """`arguments` are those of `ray`."""
    threading.Thread(target=_watch_stdin, daemon=True).start()
    from ray._private import ray_constants, services  # noqa: PLC0415 - seconds; the lifeline is watched before
    from ray.scripts.scripts import cli  # noqa: PLC0415

    if os.environ.get(CLUSTER) == "0":
        ray_constants.ENABLE_RAY_CLUSTER = True
        services.get_node_ip_address = lambda address=None: LOOPBACK  # noqa: ARG005
    cli(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
