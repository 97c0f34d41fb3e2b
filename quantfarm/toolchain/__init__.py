"""llama.cpp's own tools and converter, from the source package of the installed llama-cpp-python.

    tool("llama-bench")    path of a built tool; `quantfarm toolchain build` builds them
    source_tree()          the unpacked llama.cpp sources
    converter()            convert_hf_to_gguf.py in them
    convert(folder, out)   Hugging Face folder -> F16 GGUF, in an environment of its own
    build_for(platforms)   static programs for devices without Python; builds_for(platform) names their builds

Everything lies under QUANTFARM_CACHE and is there whole or not at all.
"""

from __future__ import annotations

from quantfarm.toolchain.building import TOOLS, build, tool
from quantfarm.toolchain.conversion import convert
from quantfarm.toolchain.cross import build_for, builds_for, program
from quantfarm.toolchain.source import converter, fetch_source, source_tree, version

__all__ = [
    "TOOLS",
    "build",
    "build_for",
    "builds_for",
    "convert",
    "converter",
    "fetch_source",
    "program",
    "source_tree",
    "tool",
    "version",
]
