"""E-mail by SMTP: STARTTLS or TLS from the start, with a login where the server asks for one."""

from __future__ import annotations

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from flows.alerting.sinks import NotSent, Settings, shown, tried
from quantfarm.nightly.message import REPEATED, Message
from storage.home import Home

TIMEOUT_S = 20.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")
#: SMTP's codes below this are no refusals for ever.
FOR_EVER = 500


class Smtp(Settings):
    kind: Literal["smtp"]
    host: str = Field(min_length=1)
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="none: on loopback alone")
    ca_file: str = Field("", description="certificates to trust; default: the system's")
    user: str = ""
    password_env: str = Field("", description="environment variable with the password of `user`")
    sender: str = Field(description="the From address")
    to: tuple[str, ...] = Field(min_length=1, max_length=50)

    @field_validator("sender", "to")
    @classmethod
    def _addresses(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for one in (given,) if isinstance(given, str) else given:
            if one.count("@") != 1 or not one.isprintable() or set(one) & set(' ,;<>"'):
                raise ValueError(f"'{one}' is no e-mail address: give it bare, as ann@example.org")
        return given

    @model_validator(mode="after")
    def _nothing_in_the_open(self) -> Self:
        if self.security == "none" and self.host not in LOOPBACK:
            raise ValueError("security: none sends mail and password in the open; it is for loopback alone")
        if bool(self.user) != bool(self.password_env):
            raise ValueError("`user` and `password_env` go together")
        return self

    def send(self, home: Home, message: Message, *, again: bool) -> str:  # noqa: ARG002
        password = self.secret("password_env")
        mail = self.mail(message, again=again)
        return tried(lambda: self._once(mail, password))

    def mail(self, message: Message, *, again: bool) -> EmailMessage:
        """The same news of the same night has the same Message-ID, so that mail programs show it once."""
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = message.subject
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.to)
        mail["Date"] = format_datetime(datetime.now(UTC))
        mail["Message-ID"] = f"<{message.digest}.{message.night or 'test'}@quantfarm>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text + (f"\n{REPEATED}\n" if again else ""))
        return mail

    def _once(self, mail: EmailMessage, password: str) -> str:
        where = f"{self.host}:{self.port}"
        try:
            with self._connected() as server:
                if self.user:
                    server.login(self.user, password)
                refused = server.send_message(mail, self.sender, list(self.to))
        except smtplib.SMTPResponseException as error:
            said = error.smtp_error
            text = shown(said.decode("utf-8", "replace") if isinstance(said, bytes) else said, [password])
            raise NotSent(f"{where} answered {error.smtp_code}: {text}", again=error.smtp_code < FOR_EVER) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            told = ", ".join(f"{one} ({code})" for one, (code, _) in error.recipients.items())
            raise NotSent(f"{where} takes none of: {told}", again=max(codes, default=0) < FOR_EVER) from None
        except ssl.SSLCertVerificationError as error:
            raise NotSent(f"the certificate of {where} is not trusted: {error.verify_message}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise NotSent(f"{where}: {shown(error, [password])}", again=True) from None
        return f"{where} did not take it for {', '.join(refused)}; the others have it" if refused else ""

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=self.ca_file or None)
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        if self.security == "starttls":
            try:
                server.starttls(context=context)
            except BaseException:
                server.close()
                raise
        return server
