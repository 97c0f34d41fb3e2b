"""A mail server on loopback: enough SMTP for STARTTLS, a login and a mail, with real sockets and real TLS."""

from __future__ import annotations

import base64
import contextlib
import io
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Mail:
    sender: str = ""
    to: list[str] = field(default_factory=list)
    data: bytes = b""
    encrypted: bool = False


@dataclass
class Post:
    port: int = 0
    mails: list[Mail] = field(default_factory=list)


def certificate(folder: Path) -> Path:
    """A certificate for localhost that nobody else trusts: `cert.pem`, with `key.pem` beside it."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command, *more], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem"


class _Session(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.mail = Mail()
        self.logged_in = not self.server.password
        self.say("220 post")
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            if verb.upper() == "QUIT":
                self.say("221 bye")
                return
            step = getattr(self, f"on_{verb.lower()}", None)
            if step is None:
                self.say("502 what?")
            else:
                step(rest)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.connection.close()

    def say(self, *lines: str) -> None:
        for number, line in enumerate(lines):
            dash = "-" if number < len(lines) - 1 else " "
            text = line[:3] + dash + line[4:]
            self.wfile.write(text.encode() + b"\r\n")

    def on_ehlo(self, _: str) -> None:
        tls = ["250 STARTTLS"] if self.server.tls and not self.mail.encrypted else []
        self.say("250 post", *tls, *(["250 AUTH PLAIN"] if self.server.password else []), "250 8BITMIME")

    def on_starttls(self, _: str) -> None:
        self.say("220 go on")
        assert self.server.tls
        try:
            self.request = self.connection = self.server.tls.wrap_socket(self.request, server_side=True)
        except ssl.SSLError:  # the client does not trust us
            self.rfile = io.BytesIO()
            return
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.mail.encrypted = True

    def on_auth(self, rest: str) -> None:
        given = base64.b64decode(rest.split()[1]).split(b"\0")[2].decode()
        self.logged_in = given == self.server.password
        self.say("235 welcome" if self.logged_in else f"535 {given} is not your password")

    def on_mail(self, rest: str) -> None:
        self.mail.sender = rest
        self.say("250 ok" if self.logged_in else "530 who are you?")

    def on_rcpt(self, rest: str) -> None:
        address = rest.partition("<")[2].partition(">")[0]
        if address == self.server.refused:
            self.say("550 unknown")
            return
        self.mail.to.append(address)
        self.say("250 ok")

    def on_data(self, _: str) -> None:
        self.say("354 go on")
        lines: list[bytes] = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        self.mail.data = b"".join(lines)
        self.server.post.mails.append(self.mail)
        self.say("250 taken")

    def on_rset(self, _: str) -> None:
        self.say("250 ok")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, post: Post, tls: ssl.SSLContext | None, password: str, refused: str) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.post, self.tls, self.password, self.refused = post, tls, password, refused


@contextlib.contextmanager
def mail_server(cert: Path | None = None, *, password: str = "", refused: str = "") -> Iterator[Post]:
    """With a certificate it offers STARTTLS; with a password it wants a login."""
    tls = None
    if cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert, cert.with_name("key.pem"))
    post = Post()
    server = _Server(post, tls, password, refused)
    post.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield post
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
