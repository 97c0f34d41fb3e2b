"""Linux hwmon chips: temperatures, power, fans, energy counters, by the chip's and the sensor's own labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from quantfarm.sensors import Look, sysfs
from quantfarm.sensors.reading import Reading, name_of, nothing

#: Kind of sensor -> its unit here, and the factor to it.
KINDS = {"temp": ("c", 1e-3), "power": ("w", 1e-6), "fan": ("rpm", 1.0), "energy": ("uj", 1.0), "freq": ("mhz", 1e-6)}
#: Names before what they are of: what is cut off at its end then lacks values, and has none by another name.
GLOBS = (
    *("name", "temp*_label", "power*_label", "energy*_label", "freq*_label"),
    *("temp*_input", "power*_input", "power*_average", "energy*_input", "freq*_input", "fan*_input"),
)
FILES = r"name|(?:temp|power|fan|energy|freq)[0-9]{1,3}_(?:input|average|label)"
FILE = re.compile(r"(?P<sensor>(?P<kind>[a-z]+)[0-9]+)_(?P<what>input|average)")


class Hwmon:
    name = "hwmon"
    platforms = frozenset({"linux", "android"})

    def command(self) -> str:
        return sysfs.command(*sysfs.globs("/sys/class/hwmon/hwmon*", GLOBS))

    def parse(self, text: str) -> Look:
        """`k10temp_tctl_c`, `nvme_composite_c`; a second chip of one name is `nvme2_…`."""
        tree, reading, seen = sysfs.tree(text, FILES), Reading(), Counter[str]()
        for folder in tree.folders():
            if not folder.startswith("hwmon"):
                continue
            chip = name_of(tree.get(folder, "name") or folder)
            seen[chip] += 1
            chip += str(seen[chip]) if seen[chip] > 1 else ""
            for sensor, file, unit, scale in _sensors(tree, folder):
                label = name_of(tree.get(folder, f"{sensor}_label") or sensor)
                name = reading.free(f"{chip}_{label}", unit)
                if (said := tree.get(folder, file)) is not None:
                    reading.text(name, said, scale)
                else:
                    reading.unknown(name, tree.why(folder, file) or "empty")
        look = reading.look()
        return look if look.values or look.unknown else nothing("chips", "", "the kernel shows no hwmon sensors")


def _sensors(tree: sysfs.Tree, folder: str) -> Iterator[tuple[str, str, str, float]]:
    """(sensor, file, unit, factor) of what a chip can read; of power the momentary figure before the average."""
    files = sorted({*tree.files.get(folder, {}), *tree.errors.get(folder, {})})
    for file in files:
        if not (match := FILE.fullmatch(file)):
            continue
        if match["what"] == "average" and f"{match['sensor']}_input" in files:
            continue
        unit, scale = KINDS[match["kind"]]
        yield match["sensor"], file, unit, scale
