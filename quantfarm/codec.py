"""Nouns to JSON and back, checked on the way in. Files carry a schema version."""

from __future__ import annotations

import functools
import json
from typing import Any, TypeVar

from pydantic import TypeAdapter

from quantfarm.nouns import Artifact, Landed

#: Version of the landed-cell and artifact files; a reader refuses what is newer than it knows.
SCHEMA = 1
T = TypeVar("T")


class SchemaError(ValueError):
    """A file that is newer than this program, or not what it should be."""


@functools.cache  # building one takes milliseconds, using it microseconds
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def dump(kind: type[T], thing: T, schema: int = SCHEMA) -> bytes:
    body = _adapter(kind).dump_python(thing, mode="json")
    text = json.dumps({"schema": schema, **body}, ensure_ascii=False, sort_keys=True) + "\n"
    return text.encode("utf-8", "backslashreplace")  # a lone surrogate (from bytes that are no UTF-8) as its escape


def load(kind: type[T], data: bytes, newest: int = SCHEMA) -> T:
    """Raises SchemaError or pydantic.ValidationError (both ValueError)."""
    try:
        body: dict[str, Any] = json.loads(data)
        schema = body.pop("schema")
    except (ValueError, KeyError, AttributeError) as error:
        raise SchemaError(f"not a {kind.__name__} file: {error}") from error
    if not isinstance(schema, int) or schema > newest:
        raise SchemaError(f"schema {schema} is newer than this program knows ({newest}): upgrade quantfarm")
    return _adapter(kind).validate_python(body)


def dump_landed(landed: Landed) -> bytes:
    return dump(Landed, landed)


def load_landed(data: bytes) -> Landed:
    """Raises SchemaError or pydantic.ValidationError (both ValueError)."""
    return load(Landed, data)


def dump_artifact(artifact: Artifact) -> bytes:
    return dump(Artifact, artifact)


def load_artifact(data: bytes) -> Artifact:
    """Raises SchemaError or pydantic.ValidationError (both ValueError)."""
    return load(Artifact, data)
