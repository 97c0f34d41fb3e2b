"""Nights, and what listens for their messages: a real HTTP server on loopback."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from quantfarm.nightly.series import SeriesKey
from quantfarm.nightly.verdicts import Confirmation, Kind, Level, NightReport, Verdict


def key(device: str = "desk", metric: str = "bench_tg", variant: str = "Q4_K_M") -> SeriesKey:
    return SeriesKey(
        device=device,
        model="reference",
        variant=variant,
        runtime="llama_cpp",
        workload="bench pp512 tg128",
        metric=metric,
    )


def regression(
    series: SeriesKey | None = None, *, first_bad: str = "2026-11-10", new: float = 43.0, night: str = "2026-11-12"
) -> Verdict:
    return Verdict(
        series=series or key(),
        kind=Kind.REGRESSION,
        reason="the level of the nights changed, and the rerun confirms it",
        night=night,
        old=Level(
            value=47.2,
            unit="tok/s",
            low=46.9,
            high=47.5,
            n=20,
            nights=("2026-10-20", "2026-11-09"),
            build="llama-cpp-python 0.3.35",
        ),
        new=Level(value=new, unit="tok/s", n=3, nights=(first_bad, night), build="llama-cpp-python 0.3.36"),
        ratio=new / 47.2,
        p=3e-9,
        first_bad=first_bad,
        last_good="2026-11-09",
        confirmation=Confirmation(how="interleaved", ratio=new / 47.2, p=0.00195, n=10, low=0.905, high=0.918),
        changed={"build": ("llama-cpp-python 0.3.35", "llama-cpp-python 0.3.36")},
        suspect="llama-cpp-python 0.3.35 → 0.3.36",
        reproduce="quantfarm sweep --model reference --quants Q4_K_M --devices desk --suite bench --fresh",
    )


def silence(
    series: SeriesKey | None = None, night: str = "2026-11-12", reason: str = "no answer from attic"
) -> Verdict:
    return Verdict(series=series or key("attic"), kind=Kind.NO_DATA, reason=reason, night=night, last_good="2026-11-11")


def unchanged(series: SeriesKey | None = None, value: float = 47.1, night: str = "2026-11-13") -> Verdict:
    return Verdict(
        series=series or key(),
        kind=Kind.UNCHANGED,
        reason="",
        night=night,
        new=Level(value=value, unit="tok/s", n=3),
    )


def report(*verdicts: Verdict, night: str = "2026-11-12") -> NightReport:
    return NightReport(
        night=night,
        began_at=f"{night}T02:00:00+00:00",
        finished_at=f"{night}T03:10:00+00:00",
        counts={"ok": len(verdicts)},
        verdicts=verdicts,
    )


@dataclass
class Listener:
    """`answers` are given in order, then 200; `on_post` is called before an answer goes out."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    on_post: Callable[[], None] = lambda: None


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    """A web server on loopback that keeps what is posted to it."""
    heard = Listener()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.got.append((dict(self.headers), body))
            heard.on_post()
            code, headers = heard.answers.pop(0) if heard.answers else (200, {})
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"no: " + self.path.encode() if code >= 300 else b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    heard.url = f"http://127.0.0.1:{server.server_address[1]}/hook/T000/topsecretpath"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
