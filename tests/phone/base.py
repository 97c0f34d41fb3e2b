"""What all phones share and never change: adbd, Android's shell and tools, in one folder that is built once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.phone import apt

SUITE = "trixie"
#: adbd with its libraries, and the shell and tools of Android.
PACKAGES = (
    "adbd android-libbase android-libboringssl android-libcutils android-liblog libbrotli1 libc6 libcap2 libcrypt1 "
    "libgcc-s1 liblz4-1 libpcre2-8-0 libprotobuf32t64 libselinux1 libssl3t64 libstdc++6 libsystemd0 libxxhash0 "
    "libzstd1 mksh toybox zlib1g"
)
#: The tools that Android links to its toybox. Debian's toybox has more, which a phone would not have, and lacks
#: some (dd, tr, expr, getopt, gzip, diff, lsof, more, stty): what works here does without them.
APPLETS = (
    "[ acpi base64 basename blkdiscard blkid blockdev cal cat chattr chcon chgrp chmod chown chroot chrt cksum clear "
    "cmp comm cp cpio cut date dd devmem df diff dirname dmesg dos2unix du echo egrep env expand expr fallocate false "
    "fgrep file find flock fmt free freeramdisk fsfreeze fsync getconf getenforce getfattr getopt grep groups gunzip "
    "gzip head help hostname hwclock i2cdetect i2cdump i2cget i2cset iconv id ifconfig inotifyd insmod install ionice "
    "iorenice iotop kill killall ln load_policy log logname losetup ls lsattr lsmod lsof lspci lsusb makedevs md5sum "
    "microcom mkdir mkfifo mknod mkswap mktemp modinfo modprobe more mount mountpoint mv nbd-client nc netcat netstat "
    "nice nl nohup nproc nsenter od partprobe paste patch pgrep pidof ping ping6 pivot_root pkill pmap printenv printf "
    "prlimit ps pwd pwdx readelf readlink realpath renice restorecon rev rfkill rm rmdir rmmod rtcwake runcon sed "
    "sendevent seq setenforce setfattr setsid sha1sum sha224sum sha256sum sha384sum sha512sum sleep sort split stat "
    "strings stty swapoff swapon sync sysctl tac tail tar taskset tee test time timeout top touch tr traceroute "
    "traceroute6 true truncate tty tunctl uclampset ulimit umount uname uniq unix2dos unlink unshare uptime usleep "
    "uudecode uuencode uuidgen vconfig vi vmstat watch wc which whoami xargs xxd yes zcat"
)

GETPROP = """\
#!/system/bin/sh
# Prints all properties as recorded, or the value of one.
[ -n "$1" ] || exec cat /fixtures/getprop.txt
while read -r line; do
  case $line in "[$1]: ["*) line=${line#*: \\[}; echo "${line%\\]}"; exit ;; esac
done </fixtures/getprop.txt
echo "$2"
"""
DUMPSYS = """\
#!/system/bin/sh
# Prints what the service was recorded to say.
[ -f "/fixtures/dumpsys-$1.txt" ] && exec cat "/fixtures/dumpsys-$1.txt"
echo "Can't find service: $1" >&2
"""
#: The first process of a phone: starts and signals the daemon as told on its stdin, and ends with it,
#: which ends all that runs on the phone, so that nothing outlives the tests.
INIT = """\
#!/system/bin/sh
while read -r word value; do
  case $word in
    start) ADBD_PORT=$value ANDROID_DATA=/data ANDROID_ROOT=/system PATH=/product/bin:/system/bin:/vendor/bin \\
        HOME=/ SHELL=/bin/sh TMPDIR=/data/local/tmp /system/bin/adbd </dev/null >>/adbd.log 2>&1 &
      daemon=$!; echo started ;;
    signal) kill "-$value" "$daemon"; [ "$value" != KILL ] || wait "$daemon"; echo signalled ;;
  esac
done
"""
#: Part of the cache's key: raise it when the building itself changes.
EDITION = 1


def cache() -> Path:
    given = os.environ.get("QUANTFARM_CACHE")
    return (Path(given) if given else Path.home() / ".cache" / "quantfarm") / "test-phone"


def unusable() -> str:
    """Why no phone can be had here, or an empty string."""
    if os.geteuid() != 0:
        return "a phone for tests needs root (namespaces, chroot)"
    tools = ("adb", "cc", "unshare", "chroot", "mount", "apt-get", "dpkg-deb")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        return f"a phone for tests needs {', '.join(missing)}"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True, check=False
    )
    return f"no namespaces here: {tried.stderr.strip()}" if tried.returncode else ""


def base() -> Path:
    """The folder, built when it is not there: whole or not at all. Raises apt.Unavailable."""
    there = cache() / _key()
    if not there.is_dir():
        there.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="building-", dir=there.parent) as folder:
            building = Path(folder) / "base"
            building.mkdir(mode=0o755)
            _build(building)
            try:
                building.rename(there)
            except OSError:  # somebody else was first
                if not there.is_dir():
                    raise
    return there


def _key() -> str:
    parts = [SUITE, PACKAGES, APPLETS, GETPROP, DUMPSYS, INIT, _shim().read_text(), str(EDITION)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _shim() -> Path:
    return Path(__file__).parent / "phone_shim.c"


def _build(root: Path) -> None:
    apt.unpack(PACKAGES.split(), SUITE, root)
    shutil.rmtree(root / "usr/share")
    for name in ("bin", "lib", "lib64"):
        if (root / "usr" / name).is_dir():
            (root / name).symlink_to(f"usr/{name}")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", root / "usr/lib/phone_shim.so", _shim(), "-ldl"], check=True)
    libraries = next((root / "usr/lib").glob("*/android"))
    (root / "etc/ld.so.conf").write_text(f"/{libraries.relative_to(root)}\n/{libraries.parent.relative_to(root)}\n")
    (root / "etc/ld.so.preload").write_text("/usr/lib/phone_shim.so\n")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nshell:x:2000:2000::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nshell:x:2000:\n")
    subprocess.run(["/sbin/ldconfig", "-r", root], check=True)
    _tools(root)


def _tools(root: Path) -> None:
    tools = root / "system/bin"
    tools.mkdir(parents=True)
    listed = subprocess.run(["chroot", root, "/usr/bin/toybox"], capture_output=True, text=True, check=True)
    for applet in sorted(set(APPLETS.split()) & set(listed.stdout.split())):
        (tools / applet).symlink_to("/usr/bin/toybox")
    (tools / "sh").symlink_to("/usr/bin/mksh")
    (root / "usr/bin/sh").symlink_to("mksh")  # what Debian's adbd starts
    (tools / "adbd").symlink_to("/usr/lib/android-sdk/platform-tools/adbd")
    for name, script in {"getprop": GETPROP, "dumpsys": DUMPSYS, "init": INIT}.items():
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
