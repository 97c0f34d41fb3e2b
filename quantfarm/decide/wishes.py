"""What somebody asks of a default: how much memory it may need, how good and how fast it must be."""

from __future__ import annotations

from dataclasses import dataclass

#: Within about 5 % of the unquantized model's perplexity.
MIN_QUALITY = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """`max_ram_mib` None: not limited. `min_quality` as PPL(F16) ÷ PPL(variant), `min_speed` in tok/s of decode; of
    both 0 is: whatever it is."""

    max_ram_mib: float | None = None
    min_quality: float = MIN_QUALITY
    min_speed: float = 0.0

    def small(self, memory: float) -> bool:
        return self.max_ram_mib is None or memory <= self.max_ram_mib

    def good(self, quality: float | None) -> bool:
        return self.min_quality <= 0 or (quality is not None and quality >= self.min_quality)

    def fast(self, speed: float) -> bool:
        return speed >= self.min_speed
