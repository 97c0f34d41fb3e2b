"""A night's message as Slack's blocks: escaped, and within Slack's limits.

Only `&`, `<` and `>` can make links and mentions of a text (docs: "Formatting text for app surfaces"); a name in
code must not end the code.
"""

from __future__ import annotations

from typing import Any

from quantfarm.nightly import message as night
from quantfarm.nightly import words
from quantfarm.nightly.message import Message
from quantfarm.nightly.telling import TOLD, Item, Links

#: Slack's limits: characters of a header and of a section, blocks of a message.
HEADER, SECTION, BLOCKS = 150, 3000, 50


def escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    return "`" + escape(text.replace("`", "'")) + "`"


def payload(message: Message, *, repeated: bool = False) -> dict[str, Any]:
    """What an incoming webhook takes: `text` is what a notification shows, `blocks` what the channel does.

    `repeated`: it may have arrived before.
    """
    told = blocks(message)
    return {"text": escape(message.subject), "blocks": [*told, _section(night.REPEATED)] if repeated else told}


def blocks(message: Message) -> list[dict[str, Any]]:
    # Plain text is not escaped, and should not be parsed either; nothing that could be is left in it.
    plain = cut(message.subject.replace("<", "‹").replace(">", "›"), HEADER)
    header = {"type": "header", "text": {"type": "plain_text", "text": plain, "emoji": False}}
    if message.test:
        return [header, _section(escape(message.text))]
    told = [_section(_regression(one, message.links)) for one in message.regressions[:TOLD]]
    if more := len(message.regressions) - len(told):
        told.append(_section(f"And {more} more: {code('quantfarm nightly alerts')}"))
    told += [_section(escape(one)) for one in night.silences(message.silent)]
    if message.improvements:
        told.append(_section(escape(night.improvements(message.improvements))))
    if message.left_out:
        told.append(_section(f"Not told again: {escape(message.left_out)}. {code('quantfarm nightly alerts')}"))
    links = [(name, url) for name, url in (("run", message.links.run), ("dashboard", message.links.dashboard)) if url]
    if links:
        told.append(_section(" · ".join(link(url, name) for name, url in links)))
    return [header, *told][: BLOCKS - 1]


def _regression(item: Item, links: Links) -> str:
    verdict = item.verdict
    known = dict(night.facts(item))
    commands = dict(night.commands(verdict))
    lines = [f"*{_flat(words.series(verdict))}*", escape(words.change(verdict))]
    lines += [f"{name}: {code(value) if name in commands else escape(value)}" for name, value in known.items()]
    lines += [link(url, "in the dashboard")] if (url := links.history(verdict.series.id)) else []
    return "\n".join(lines)


def _flat(text: str) -> str:
    """Within bold: a star of the name would end it."""
    return escape(text.replace("*", "∗"))


def link(url: str, name: str) -> str:
    """Only what is a web address becomes a link."""
    if not url.startswith(("http://", "https://")):
        return f"{escape(name)}: {escape(words.clean(url))}"
    plain = words.clean(url, 2000).replace("|", "%7C").replace(" ", "%20")
    return f"<{escape(plain)}|{escape(name)}>"


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION)}}


def cut(text: str, longest: int) -> str:
    """At most so many characters, and no half of an escaped one at the end."""
    if len(text) <= longest:
        return text
    kept = text[: longest - 1]
    ampersand = kept.rfind("&")
    return (kept[:ampersand] if ampersand > kept.rfind(";") else kept) + "…"
