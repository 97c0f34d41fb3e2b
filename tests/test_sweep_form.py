"""The form that Prefect's UI makes of the sweep flow: every parameter of a sweep file, each with its meaning."""

from __future__ import annotations

import inspect
from typing import Any

from prefect.utilities.callables import parameter_schema

from flows import sweep as flow
from quantfarm.errors import UsageError
from quantfarm.sweeps import Sweep

SWEEP: Any = flow.sweep


def test_the_form_has_what_a_sweep_file_has_each_with_its_description() -> None:
    form: dict[str, Any] = parameter_schema(SWEEP.fn).model_dump()["properties"]
    assert set(form) == {*Sweep.model_fields, "resume"}
    for name, field in Sweep.model_fields.items():
        assert form[name]["description"] == (field.description or "kept with the sweep").replace("; empty", "; none")


def test_what_is_left_empty_is_what_a_sweep_file_leaves_out() -> None:
    given = {name: p.default for name, p in inspect.signature(SWEEP.fn).parameters.items()}
    asked = {name: value for name, value in given.items() if value is not None and name != "resume"}
    assert Sweep.model_validate(asked) == Sweep.model_validate({})


def test_a_wrong_value_of_the_form_is_said_as_one_of_a_file(home: object) -> None:
    refused = SWEEP.fn(suite="fast")
    assert refused.is_failed()
    assert isinstance(refused.data, UsageError)
    assert "unknown suite 'fast'" in refused.message
