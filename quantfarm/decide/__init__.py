"""From figures to decisions: what a device should run, where quality falls off, which targets are met."""

from quantfarm.decide.cliff import Cliff, NoCliff, cliff
from quantfarm.decide.recommendation import Recommendation, Wishes, recommend
from quantfarm.decide.targets import Checked, Verdict, check

__all__ = ["Checked", "Cliff", "NoCliff", "Recommendation", "Verdict", "Wishes", "check", "cliff", "recommend"]
