"""Each way of telling against a real listener, and no secret anywhere."""

from __future__ import annotations

import email
import email.policy
import hashlib
import hmac
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flows.alerting import settings, tell
from flows.alerting.sinks import NotSent
from flows.alerting.telling import FAILED, SENT
from quantfarm.errors import UsageError
from quantfarm.nightly.message import Message, compose, trial
from storage import journal
from storage.home import Home
from tests.alerting import listening, regression, report
from tests.mailing import certificate, mail_server
from tests.sweeping import quantfarm

SECRET = "hunter2-of-the-farm"  # noqa: S105 - a test's


@pytest.fixture
def farm(home: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home.mkdir()
    monkeypatch.setattr("flows.alerting.sinks.WAIT_S", 0.01)
    return Home(home)


def configured(farm: Home, text: str):
    """The one sink of this alerts.yaml."""
    (farm.root / "alerts.yaml").write_text(f"events: false\nsinks:\n  - {text}\n")
    (sink,) = settings.read(farm)
    return sink


def message() -> Message:
    made = compose(report(regression()))
    assert made is not None
    return made


def written(farm: Home) -> str:
    return "".join(p.read_text(errors="replace") for p in farm.root.rglob("*") if p.is_file())


# -- webhook


def test_a_webhook_gets_the_night_as_signed_json(farm, monkeypatch):
    with listening() as heard:
        monkeypatch.setenv("HOOK_URL", heard.url)
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        sink = configured(farm, "{kind: webhook, url_env: HOOK_URL, secret_env: HOOK_SECRET}")
        sink.send(farm, message(), again=False)
    ((headers, body),) = heard.got
    expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["X-Quantfarm-Signature-256"] == f"sha256={expected}"
    assert headers["Content-Type"] == "application/json"
    told = json.loads(body)
    assert (told["schema"], told["kind"], told["night"]) == (1, "night", "2026-11-12")
    assert told["regressions"][0]["first_bad"] == "2026-11-10"


def test_without_a_secret_nothing_is_signed(farm, monkeypatch):
    with listening() as heard:
        monkeypatch.setenv("HOOK_URL", heard.url)
        configured(farm, "{kind: webhook, url_env: HOOK_URL}").send(farm, message(), again=False)
    assert "X-Quantfarm-Signature-256" not in heard.got[0][0]


@pytest.mark.parametrize("answers", [[(500, {})], [(429, {"Retry-After": "0"}), (503, {"Retry-After": "soon"})]])
def test_what_may_pass_is_tried_again(farm, monkeypatch, answers):
    with listening() as heard:
        heard.answers = list(answers)
        monkeypatch.setenv("HOOK_URL", heard.url)
        configured(farm, "{kind: webhook, url_env: HOOK_URL}").send(farm, message(), again=False)
    assert len(heard.got) == len(answers) + 1
    assert len({body for _, body in heard.got}) == 1


@pytest.mark.parametrize(
    ("code", "times"),
    [(400, 1), (404, 1), (302, 1), (500, 3), (429, 3)],
)
def test_a_refusal_names_the_host_alone(farm, monkeypatch, code, times):
    """The address holds a secret, and the server's answer repeats it."""
    with listening() as heard:
        heard.answers = [(code, {"Location": "http://127.0.0.1:1/elsewhere", "Retry-After": "0"})] * 5
        monkeypatch.setenv("HOOK_URL", heard.url)
        configured(farm, "{kind: webhook, url_env: HOOK_URL}")
        (sent,) = tell(farm, report(regression()))
    assert sent.state == FAILED
    assert f"answered {code}" in sent.line
    assert "127.0.0.1" in sent.line
    assert len(heard.got) == times
    for text in (sent.line, written(farm), quantfarm("nightly", "alerts"), quantfarm("nightly", "alerts", "--json")):
        assert "topsecretpath" not in text
    assert "answered" in quantfarm("nightly", "alerts")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1/topsecretpath", "cannot be reached"),
        ("ftp://example.org/topsecretpath", "no http:// or https://"),
        ("topsecretpath", "no http:// or https://"),
        ("http://[topsecretpath", "no http:// or https://"),
        ("http://127.0.0.1:99999999/topsecretpath", "no http:// or https://"),
        ("http://127.0.0.1:1/top secretpath", "127.0.0.1"),
        ("", "HOOK_URL (url_env) is not set"),
    ],
)
def test_an_address_that_cannot_be_used_is_not_shown(farm, monkeypatch, url, said):
    monkeypatch.setenv("HOOK_URL", url)
    configured(farm, "{kind: webhook, url_env: HOOK_URL}")
    (sent,) = tell(farm, report(regression()))
    assert sent.state == FAILED
    assert said in sent.line
    assert "secretpath" not in sent.line + written(farm)


# -- Slack


def test_slack_gets_its_blocks(farm, monkeypatch):
    with listening() as heard:
        monkeypatch.setenv("SLACK_URL", heard.url)
        sink = configured(farm, "{kind: slack, url_env: SLACK_URL}")
        sink.send(farm, message(), again=False)
        sink.send(farm, message(), again=True)
    first, second = (json.loads(body) for _, body in heard.got)
    assert first["text"].startswith("[quantfarm] 2026-11-12")
    assert first["blocks"][0]["type"] == "header"
    assert "you may have this message already" in second["blocks"][-1]["text"]["text"]


# -- e-mail


def test_mail_goes_out_under_tls_after_a_login(farm, monkeypatch, tmp_path):
    monkeypatch.setenv("MAIL_PASSWORD", SECRET)
    with mail_server(certificate(tmp_path), password=SECRET) as post:
        sink = configured(
            farm,
            f"{{kind: smtp, host: localhost, port: {post.port}, ca_file: {tmp_path / 'cert.pem'}, user: farm, "
            "password_env: MAIL_PASSWORD, sender: farm@example.org, to: [ann@example.org, bob@example.org]}",
        )
        sink.send(farm, message(), again=False)
    (mail,) = post.mails
    read = email.message_from_bytes(mail.data, policy=email.policy.default)
    assert mail.encrypted
    assert mail.to == ["ann@example.org", "bob@example.org"]
    assert read["Subject"] == "[quantfarm] 2026-11-12: desk bench_tg of reference Q4_K_M -8.9 %"
    assert read["Message-ID"] == f"<{message().digest}.2026-11-12@quantfarm>"
    assert read["Auto-Submitted"] == "auto-generated"
    assert "47.20 tokens/s (46.90–47.50, n = 20) → 43.00 tokens/s" in read.get_content()


def test_no_name_adds_a_header_to_a_mail(farm, tmp_path):
    with mail_server() as post:
        sink = configured(
            farm,
            f"{{kind: smtp, host: 127.0.0.1, port: {post.port}, security: none, sender: farm@example.org, "
            "to: [ann@example.org]}",
        )
        bad = regression()
        bad = replace(bad, series=replace(bad.series, device="desk\r\nBcc: all@example.org", model="a\nb"))
        made = compose(report(bad))
        assert made is not None
        sink.send(farm, made, again=True)
    read = email.message_from_bytes(post.mails[0].data, policy=email.policy.default)
    assert read["Bcc"] is None
    assert post.mails[0].to == ["ann@example.org"]
    assert "Bcc: all@example.org" in read["Subject"]
    assert "you may have this message already" in read.get_content()


def test_a_wrong_password_is_told_without_it(farm, monkeypatch, tmp_path):
    monkeypatch.setenv("MAIL_PASSWORD", SECRET + "-wrong")
    with mail_server(certificate(tmp_path), password=SECRET) as post:
        configured(
            farm,
            f"{{kind: smtp, host: localhost, port: {post.port}, ca_file: {tmp_path / 'cert.pem'}, user: farm, "
            "password_env: MAIL_PASSWORD, sender: farm@example.org, to: [ann@example.org]}",
        )
        (sent,) = tell(farm, report(regression()))
    assert sent.state == FAILED
    assert "535" in sent.line
    assert SECRET not in sent.line + written(farm)


def test_a_certificate_that_nobody_trusts_is_refused(farm, tmp_path):
    with mail_server(certificate(tmp_path)) as post:
        sink = configured(
            farm,
            f"{{kind: smtp, host: localhost, port: {post.port}, sender: farm@example.org, to: [ann@example.org]}}",
        )
        with pytest.raises(NotSent, match="not trusted"):
            sink.send(farm, message(), again=False)
    assert post.mails == []


def test_a_mail_server_that_is_not_there_is_tried_again_and_told(farm):
    sink = configured(
        farm,
        "{kind: smtp, host: 127.0.0.1, port: 1, security: none, sender: farm@example.org, to: [ann@example.org]}",
    )
    with pytest.raises(NotSent, match=r"127\.0\.0\.1:1: .*refused"):
        sink.send(farm, message(), again=False)


def test_one_address_that_is_refused_does_not_make_the_others_get_it_twice(farm):
    with mail_server(refused="bob@example.org") as post:
        configured(
            farm,
            f"{{kind: smtp, host: 127.0.0.1, port: {post.port}, security: none, sender: farm@example.org, "
            "to: [ann@example.org, bob@example.org]}",
        )
        (sent,) = tell(farm, report(regression()))
    assert sent.state == SENT
    assert "did not take it for bob@example.org" in sent.reason
    assert [mail.to for mail in post.mails] == [["ann@example.org"]]


# -- file


def test_a_file_takes_json_lines_or_text(farm, tmp_path):
    configured(farm, "{kind: file, path: told/alerts.jsonl}").send(farm, message(), again=False)
    assert journal.read(farm.root / "told" / "alerts.jsonl")[0]["night"] == "2026-11-12"
    text = configured(farm, f"{{kind: file, path: {tmp_path / 'told.txt'}, format: text}}")
    text.send(farm, message(), again=False)
    text.send(farm, message(), again=True)
    assert (tmp_path / "told.txt").read_text().count("1. desk: token generation") == 1


def test_a_full_disk_leaves_no_half_of_a_message(farm, tmp_path, monkeypatch):
    path = tmp_path / "told.txt"
    path.write_text("before\n")
    sink = configured(farm, f"{{kind: file, path: {path}, format: text}}")
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{fd}").readlink() == path:
            if len(data) < 100:
                raise OSError(28, "No space left on device")
            return real(fd, data[: len(data) // 2])
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(NotSent, match="No space left"):
        sink.send(farm, message(), again=False)
    assert path.read_text() == "before\n"


# -- alerts.yaml


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sink: []", "unknown key 'sink'"),
        ("sinks: slack", "`sinks` is a list"),
        ("events: maybe", "`events` is true or false"),
        ("sinks: [slack]", "sink 1: a sink has a kind"),
        ("sinks: [{url_env: A}]", "sink 1: `kind` is missing"),
        ("sinks: [{kind: slac, url_env: A}]", "did you mean slack"),
        ("sinks: [{kind: slack, url_en: A}]", "did you mean url_env"),
        ("sinks: [{kind: slack, url: https://hooks.example.org/hunter2}]", "name that with url_env"),
        ("sinks: [{kind: slack, url_env: https://hooks.example.org/hunter2}]", "name of an environment variable"),
        ("sinks: [{kind: slack}]", "url_env: Field required"),
        ("sinks: [{kind: file, path: a}, {kind: file, path: b}]", "2 sinks are called 'file'"),
        ("sinks: [{kind: smtp, host: m.example.org, sender: a@b, to: ['a b']}]", "no e-mail address"),
        ("sinks: [{kind: smtp, host: m.example.org, security: none, sender: a@b, to: [a@b]}]", "in the open"),
        ("sinks: [{kind: smtp, host: m.example.org, user: u, sender: a@b, to: [a@b]}]", "go together"),
        ("sinks: [", "not valid YAML"),
    ],
)
def test_a_mistake_in_alerts_yaml_is_one_message_with_file_and_key(farm, text, said):
    (farm.root / "alerts.yaml").write_text(text)
    with pytest.raises(UsageError) as raised:
        settings.read(farm)
    assert said in str(raised.value)
    assert str(farm.root / "alerts.yaml") in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_without_a_file_the_events_alone_are_told(farm):
    assert [one.kind for one in settings.read(farm)] == ["event"]


# -- try-alert


def test_try_alert_sends_what_is_marked_as_a_test(farm, monkeypatch):
    with listening() as heard:
        monkeypatch.setenv("HOOK_URL", heard.url)
        (farm.root / "alerts.yaml").write_text(
            "events: false\nsinks:\n  - {kind: webhook, url_env: HOOK_URL}\n  - {kind: file, path: a.jsonl}\n"
        )
        assert "file: sent" in quantfarm("nightly", "try-alert")
        assert heard.got and json.loads(heard.got[0][1])["kind"] == "test"
        assert json.loads(quantfarm("nightly", "try-alert", "--sink", "file", "--json"))[0]["state"] == SENT
        assert len(heard.got) == 1
        heard.answers = [(403, {})]
        assert "answered 403" in quantfarm("nightly", "try-alert", "--sink", "webhook", code=1)
    assert not (farm.root / "alerts" / "log.jsonl").exists()


def test_a_test_message_is_no_night(farm):
    assert trial("ann").body["kind"] == "test"


def test_a_listener_that_never_answers_does_not_hold_up_the_night(farm, monkeypatch):
    monkeypatch.setattr("flows.alerting.posting.TIMEOUT_S", 0.3)
    with listening() as heard:
        heard.on_post = lambda: time.sleep(1.0)
        monkeypatch.setenv("HOOK_URL", heard.url)
        configured(farm, "{kind: webhook, url_env: HOOK_URL}")
        (sent,) = tell(farm, report(regression()))
    assert sent.state == FAILED
    assert "timed out" in sent.line
