"""What a person is told who asks what cannot be answered."""

from __future__ import annotations

from collections.abc import Sequence

from quantfarm.nouns import Variant


def nobody(device: str, variant: Variant, does: str, named: Sequence[str], able: Sequence[str]) -> str:
    """`no runtime of laptop answers with AWQ (compressed-tensors): …`."""
    return (
        f"no runtime of {device} {does} with {variant.name} ({variant.format}): looked at {', '.join(named)}; "
        f"runtimes that {does.removesuffix('s')}: {', '.join(able)}"
    )
