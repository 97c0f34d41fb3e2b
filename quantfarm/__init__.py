"""The core of the farm: nouns and rules, free of every tool that handles them."""

import os

#: No library that we use tells anybody that it is used; they read this when they are imported, so it comes first.
QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)
