"""What happens in a sweep as lines of its run's log. Prefect sends them in batches, from a thread of its own: no
request is made for a line.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect import get_run_logger
from prefect.exceptions import MissingContextError

from flows.estimate import figure
from flows.labels import count
from flows.progress import News
from quantfarm.nouns import State


class RunLog:
    """A listener. Made inside the run whose log it writes; told from every thread."""

    def __init__(self) -> None:
        try:
            self._log: Any = get_run_logger()
        except MissingContextError:  # the flow's function called as it is
            self._log = logging.getLogger("quantfarm.flows")

    def tell(self, news: News) -> None:
        HEARD.get(news.kind, RunLog._text)(self, news)

    def _text(self, news: News) -> None:
        if news.text:
            self._log.info("%s", news.text if news.kind in ("note", "said") else f"{news.kind} {news.text}")

    def _waiting(self, news: News) -> None:
        self._log.warning("%s", news.text)

    def _plan(self, news: News) -> None:
        assert news.plan
        devices = {cell.profile.name for cell in news.plan.cells}
        cells, on = count(len(news.plan.cells), "cell"), count(len(devices), "device")
        self._log.info("%s on %s, %d skipped", cells, on, len(news.plan.skips))

    def _started(self, news: News) -> None:
        assert news.cell
        self._log.debug("▶ %s", news.cell.label)

    def _known(self, news: News) -> None:
        assert news.cell
        self._log.debug("%s was measured already", news.cell.label)

    def _landed(self, news: News) -> None:
        assert news.cell and news.landed
        good = news.landed.outcome.state is State.OK
        level, mark = (logging.INFO, "✓") if good else (logging.ERROR, "✗")
        again = f" ({news.text})" if news.text else ""
        self._log.log(level, "%s %s   %s%s", mark, news.cell.label, figure(news.landed), again)


#: What has words of its own.
HEARD = {
    "waiting": RunLog._waiting,
    "plan": RunLog._plan,
    "started": RunLog._started,
    "known": RunLog._known,
    "landed": RunLog._landed,
}
