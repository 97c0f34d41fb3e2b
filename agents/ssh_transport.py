"""One SSH connection: commands and files over it, and whether it still lives."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import paramiko

from agents import AgentError, Progress, Vanished, ssh_forward
from agents.transport import Tail

#: How often a quiet connection is asked whether it lives, and how long it may take to answer. Seconds.
ASK_S, ANSWER_S = 10.0, 15.0
#: Bytes that a command may have printed before we take them: a window.
WINDOW = 4 * 2**20
PACKET = 32768
#: SFTP's numbers (draft-ietf-secsh-filexfer-02).
WRITE, STATUS, OK = 6, 101, 0
#: Bytes under way that were not confirmed yet: OpenSSH's window is 2 MiB.
UNDER_WAY = 4 * 2**20
GONE = (paramiko.SSHException, EOFError, OSError)


class SshTransport:
    def __init__(self, login: Callable[[ExitStack], paramiko.Transport], device: str) -> None:
        self._device = device
        with ExitStack() as stack:
            self._transport = login(stack)
            self._stack = stack.pop_all()
        self._heard = time.monotonic()
        self._closed = threading.Event()
        threading.Thread(target=self._pulse, daemon=True).start()

    def alive(self) -> bool:
        return self._transport.is_active() and not self._closed.is_set()

    def close(self) -> None:
        self._closed.set()
        self._stack.close()

    def facts(self) -> Mapping[str, Any]:
        return {}

    def hear(self) -> None:
        """Something came: it lives."""
        self._heard = time.monotonic()

    def _pulse(self) -> None:
        """Asks now and then; a connection that answers nothing is closed, and all that wait on it hear so.

        TCP alone would notice a cut cable after a quarter of an hour.
        """
        while not self._closed.wait(ASK_S) and self._transport.is_active():
            ask = threading.Thread(target=self._ask, daemon=True)
            ask.start()
            asked = time.monotonic()
            while ask.is_alive() and time.monotonic() - max(asked, self._heard) < ANSWER_S:
                ask.join(1.0)
            if ask.is_alive():
                self._transport.close()

    def _ask(self) -> None:
        with contextlib.suppress(*GONE):
            self._transport.global_request("keepalive@openssh.com", wait=True)

    def start(self, command: str) -> SshChannel:
        try:
            channel = self._transport.open_session(window_size=WINDOW, max_packet_size=PACKET)
            channel.exec_command(command)
        except paramiko.ChannelException as error:
            message = f"{self._device} gives no more sessions ({error}): raise MaxSessions in its sshd_config"
            raise AgentError(message, stage="run", retryable=True) from error
        except GONE as error:
            raise Vanished(f"{self._device} went away before the command began: {error}") from error
        return SshChannel(channel, self.hear)

    def forward(self, port: int, local: int) -> AbstractContextManager[int]:
        """As of `agents.Forwards`."""
        return ssh_forward.forwarded(self._transport, port, local, self._device)

    @contextmanager
    def _files(self) -> Iterator[paramiko.SFTPClient]:
        try:
            client = paramiko.SFTPClient.from_transport(self._transport)
        except GONE as error:
            if self.alive():
                message = f"{self._device} has no SFTP: install an sftp-server there (OpenSSH brings one)"
                raise AgentError(message, stage="push", retryable=False) from error
            raise Vanished(f"{self._device} went away: {error}", stage="push") from error
        assert client
        try:
            yield client
        finally:
            with contextlib.suppress(*GONE):  # on a connection that is gone even this can fail
                client.close()

    def send(self, file: Path, to: str, offset: int, on_progress: Progress) -> None:
        mode = "r+b" if offset else "wb"
        with self._files() as client, _lost(self, "push"), file.open("rb") as source, client.open(to, mode) as there:
            source.seek(offset)
            handle: Any = there.handle  # bytes, whatever its annotation says
            _Writer(self, client, handle).copy(source, offset, file.stat().st_size, on_progress)

    def fetch(self, path: str, to: Path) -> None:
        with self._files() as client, _lost(self, "pull"), to.open("wb") as into:
            # Asked for piece by piece: paramiko's reading ahead leaves a thread that may outlive the file, and
            # raises there once the connection is closed.
            client.getfo(path, into, prefetch=False, callback=lambda *_: self.hear())

    @property
    def packet(self) -> int:
        """Bytes of a write: OpenSSH takes 255 KiB at once, any other server 32 (and that is one SSH packet)."""
        return 4 * PACKET if "OpenSSH" in self._transport.remote_version else PACKET


@contextmanager
def _lost(transport: SshTransport, stage: str) -> Iterator[None]:
    """An error of a connection that is gone is that, whatever it says; else it is the device's."""
    try:
        yield
    except Vanished:
        raise
    except GONE as error:
        if not transport.alive() or not isinstance(error, OSError):
            raise Vanished(f"the connection was lost in the middle: {error}", stage=stage) from error
        raise


class _Writer:
    """Writes that follow each other without waiting, their answers read as they come.

    paramiko's own pipelined writes fill two SSH packets where one would do, and tell of a full disk only
    once all is sent.
    """

    def __init__(self, transport: SshTransport, client: paramiko.SFTPClient, handle: bytes) -> None:
        self._transport, self._handle = transport, handle
        channel = client.get_channel()
        assert channel
        self._channel = channel
        self._answers = b""
        self._number = 2**31  # far from those that paramiko gives on this channel
        self._sizes: dict[int, int] = {}
        self._bytes = 0

    def copy(self, source: Any, offset: int, size: int, on_progress: Progress) -> None:
        told = offset
        block = self._transport.packet - 25 - len(self._handle)
        while data := source.read(block):
            self._write(offset, data)
            offset += len(data)
            while self._bytes > UNDER_WAY or self._channel.recv_ready():
                self._answer()
            told = self._tell(offset, told, size, on_progress)
        while self._sizes:
            self._answer()
            told = self._tell(offset, told, size, on_progress)

    def _tell(self, sent: int, told: int, size: int, on_progress: Progress) -> int:
        """Bytes that the device has for certain, where these are more than was told."""
        done = sent - self._bytes
        if done > told:
            on_progress(done, size)
        return done

    def _write(self, offset: int, data: bytes) -> None:
        self._number += 1
        head = struct.pack(">BII", WRITE, self._number, len(self._handle)) + self._handle
        head += struct.pack(">QI", offset, len(data))
        rest = memoryview(b"".join((struct.pack(">I", len(head) + len(data)), head, data)))
        self._sizes[self._number] = len(data)
        self._bytes += len(data)
        while rest:
            sent = self._channel.send(rest)  # type: ignore[arg-type]
            if not sent:
                raise EOFError("the channel was closed")
            rest = rest[sent:]

    def _answer(self) -> None:
        """One piece of what the server says, and what in it is whole."""
        came = self._channel.recv(65536)
        if not came:
            raise EOFError("the channel was closed")
        self._transport.hear()
        self._answers += came
        while len(self._answers) >= 4:
            (length,) = struct.unpack_from(">I", self._answers)
            if length > PACKET:
                raise EOFError("the server answered what is no SFTP")
            if len(self._answers) < 4 + length:
                return
            self._one(self._answers[4 : 4 + length])
            self._answers = self._answers[4 + length :]

    def _one(self, answer: bytes) -> None:
        if len(answer) < 9 or answer[0] != STATUS:
            raise EOFError("the server answered what is no SFTP")
        number, status = struct.unpack_from(">II", answer, 1)
        self._bytes -= self._sizes.pop(number, 0)
        if status != OK:
            raise OSError(f"SFTP status {status}")


class SshChannel:
    """One command over SSH."""

    def __init__(self, channel: paramiko.Channel, hear: Callable[[], None]) -> None:
        self._channel, self._hear = channel, hear
        self._tail = Tail(lambda: channel.recv_stderr(65536))

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                sent = self._channel.send(rest)  # type: ignore[arg-type]
                if not sent:
                    raise EOFError("the channel was closed")
                rest = rest[sent:]
        except GONE as error:
            raise Vanished(f"the connection was lost: {error}") from error

    def end(self) -> None:
        with contextlib.suppress(*GONE):
            self._channel.shutdown_write()

    def read(self) -> bytes:
        try:
            data = self._channel.recv(2**18)
        except GONE:
            return b""
        self._hear()
        return data

    def stderr(self) -> str:
        return self._tail.text()

    def close(self) -> None:
        with contextlib.suppress(*GONE):
            self._channel.close()
