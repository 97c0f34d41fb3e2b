"""A small server that speaks the part of a model hub's API that is used here, and can misbehave on request."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 100_000


@dataclass
class Hub:
    """`cut`: bytes of a body after which the connection ends (0: never); `damaged`: names of files that
    arrive with a byte changed; `pause_s`: seconds between two kilobytes of a large file.
    `asked` records (path, Range)."""

    files: dict[str, bytes]
    name: str = "org/tiny"
    cut: int = 0
    damaged: set[str] = field(default_factory=set)
    pause_s: float = 0.0
    asked: list[tuple[str, str]] = field(default_factory=list)
    endpoint: str = ""

    def info(self) -> dict[str, object]:
        return {
            "id": self.name,
            "modelId": self.name,
            "sha": COMMIT,
            "siblings": [self._sibling(name, data) for name, data in self.files.items()],
        }

    def _sibling(self, name: str, data: bytes) -> dict[str, object]:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        known: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": blob}
        if len(data) > LARGE:
            digest = hashlib.sha256(data).hexdigest()
            known["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 130}
        return known

    def bytes_of(self, name: str) -> bytes:
        data = self.files[name]
        return data[:-1] + bytes([data[-1] ^ 1]) if name in self.damaged else data


def folder_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_range = self.headers.get("Range", "")
            hub.asked.append((self.path, asked_range))
            path = self.path.split("?")[0]
            if path.startswith(f"/api/models/{hub.name}"):
                return self.answer(200, json.dumps(hub.info()).encode())
            name = path.rpartition(f"/{hub.name}/resolve/{COMMIT}/")[2]
            if name not in hub.files:
                return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return self.file(hub.bytes_of(name), asked_range)

        def file(self, data: bytes, asked_range: str) -> None:
            start = int(asked_range.removeprefix("bytes=").rstrip("-")) if asked_range else 0
            headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if asked_range else {}
            self.answer(206 if asked_range else 200, data[start:], headers)

        def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if hub.cut and len(body) > hub.cut:
                self.wfile.write(body[: hub.cut])
                self.close_connection = True
            elif hub.pause_s and len(body) > LARGE:
                self.slowly(body)
            else:
                self.wfile.write(body)

        def slowly(self, body: bytes) -> None:
            with contextlib.suppress(OSError):  # who asked has gone away
                for begin in range(0, len(body), 1024):
                    self.wfile.write(body[begin : begin + 1024])
                    time.sleep(hub.pause_s)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
