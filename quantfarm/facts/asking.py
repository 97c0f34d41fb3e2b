"""The one shell text that asks a device what it is."""

from __future__ import annotations

from quantfarm.marked import end, section
from quantfarm.sensors import choose

#: Programs that somebody here may want on a device.
PROGRAMS = (
    *("python3", "uv", "llama-bench", "nvidia-smi", "rocm-smi", "macmon", "powermetrics", "tegrastats", "vcgencmd"),
    *("flock", "setsid", "sha256sum", "shasum", "nice", "timeout", "dumpsys", "sudo", "ray"),
)
#: Python packages that can run a model.
PACKAGES = ("llama-cpp-python", "mlx-lm", "onnxruntime-genai", "openvino-genai", "litert-lm", "ray")

CPUINFO = "processor|model name|physical id|cpu cores|Hardware|Model|CPU implementer|CPU part"
MACS = (
    "machdep.cpu.brand_string hw.model hw.physicalcpu hw.logicalcpu hw.memsize"
    " hw.perflevel0.physicalcpu hw.perflevel1.physicalcpu"
)
PROPERTIES = r"^\[(ro\.(soc|product|board|build\.version|build\.id|hardware)[^]]*)\]: "
TOPOLOGY = "/sys/devices/system/cpu/cpu[0-9]*/topology"

#: One Python, once: its version, whether it can make environments, its packages. No apostrophe may stand in it.
PYTHON = f"""
import platform, sys
print("python", platform.python_version(), sys.executable)
try:
    import venv, ensurepip
    print("venv", "yes")
except ImportError:
    print("venv", "no")
from importlib import metadata
for name in "{" ".join(PACKAGES)}".split():
    try:
        print("package", name, metadata.version(name))
    except Exception:
        pass
"""

GENERAL = (
    section("uname", "uname -s; uname -r; uname -m")
    + section("programs", f'for p in {" ".join(PROGRAMS)}; do echo "$p $(command -v "$p")"; done')
    + section("python", f"command -v python3 >/dev/null && python3 -c '{PYTHON}'")
    + section("uv", "command -v uv >/dev/null && uv --version")
    + section("storage", "pwd; df -Pk .")
)
LINUX = (
    section("cpuinfo", f"grep -E '^({CPUINFO})' /proc/cpuinfo")
    + section("topology", f"cat {TOPOLOGY}/core_cpus_list 2>/dev/null || cat {TOPOLOGY}/thread_siblings_list")
    + section("meminfo", "grep '^MemTotal:' /proc/meminfo")
    + section("os-release", "cat /etc/os-release")
    + section("device-tree", "cat /proc/device-tree/model && echo")
    + section(
        "nvidia",
        "command -v nvidia-smi >/dev/null &&"
        " timeout 10 nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader",
    )
    + section("rocm", "command -v rocm-smi >/dev/null && timeout 10 rocm-smi --showproductname --json")
    + choose.probe_command("linux")
)
ANDROID = (
    section("getprop", f"getprop | grep -E '{PROPERTIES}'")
    + section("cpuinfo", f"grep -E '^({CPUINFO})' /proc/cpuinfo")
    + section("topology", f"cat {TOPOLOGY}/core_cpus_list 2>/dev/null || cat {TOPOLOGY}/thread_siblings_list")
    + section("meminfo", "grep '^MemTotal:' /proc/meminfo")
    + choose.probe_command("android")
)
MACOS = (
    section("sw_vers", "sw_vers -productVersion")
    + section("sysctl", f"for key in {MACS}; do sysctl $key 2>/dev/null; done")
    # The report has serial numbers, too: they stay on the device.
    + section(
        "system_profiler",
        "system_profiler SPHardwareDataType SPDisplaysDataType 2>/dev/null |"
        " grep -E '^ *(Model Name|Model Identifier|Chip|Chipset Model|Total Number of Cores|Memory|Metal[A-Za-z ]*):'",
    )
    + choose.probe_command("macos")
)
COMMAND = (
    f"export LC_ALL=C\n{GENERAL}"
    f'if [ "$(uname -s)" = Darwin ]; then\n{MACOS}'
    f"elif command -v getprop >/dev/null 2>&1; then\n{ANDROID}"
    f"else\n{LINUX}fi\n{end()}"
)
