# What every script of this folder begins with. POSIX shell and no more: it runs in dash, in the bash 3.2
# of a Mac and in Android's mksh. Names begin with qf_: an exported variable of the user keeps its value.

# The folder of leases, as agents/leases.py has it: one for all controllers and users of this machine.
qf_find_leases() {
    if [ -n "${QUANTFARM_LEASES:-}" ]; then qf_leases=$QUANTFARM_LEASES
    elif [ -x /system/bin/getprop ]; then qf_leases=/data/local/tmp/quantfarm/leases
    else qf_leases=/tmp/quantfarm-leases; fi
    if [ ! -e "$qf_leases" ]; then mkdir -p "$qf_leases" && chmod 1777 "$qf_leases"; fi 2>/dev/null
    if [ -L "$qf_leases" ] || [ ! -d "$qf_leases" ]; then
        qf_why="$qf_leases is no folder of its own: remove it, or set QUANTFARM_LEASES to another"
        return 1
    fi
}

# A file that all users may lock. Made once, then opened for reading only: Linux lets nobody create
# (`>` asks for that too) over another user's file in a shared folder.
qf_make_file() {
    if [ -L "$1" ]; then
        qf_why="$1 is a link: remove it"
        return 1
    fi
    [ -e "$1" ] || (umask 0 && set -C && : >"$1") 2>/dev/null
    if [ ! -r "$1" ]; then
        qf_why="$1 cannot be made or read"
        return 1
    fi
}

# What can lock an open file here. perl before python3: a Mac's python3 may be a stub that opens a window.
qf_find_locker() {
    for qf_locker in flock perl python3; do
        command -v $qf_locker >/dev/null && return
    done
    qf_locker=
    qf_why="no flock, perl or python3 here: one of them is needed to lease this device"
    return 1
}

# qf_lock s|x [n]: locks file descriptor 9, shared or exclusively; with n it does not wait, and 1 means taken.
qf_lock() {
    case $qf_locker in
    flock) flock -"$1${2:-}" 9 ;;
    perl) perl -MFcntl=:flock -e '
        open(F, "<&=9") or exit 2;
        exit(flock(F, ($ARGV[0] eq "s" ? LOCK_SH : LOCK_EX) | ($ARGV[1] ? LOCK_NB : 0)) ? 0 : 1)' "$1" "${2:-}" ;;
    python3) python3 -c '
import fcntl, sys
mode = fcntl.LOCK_SH if sys.argv[1] == "s" else fcntl.LOCK_EX
try:
    fcntl.flock(9, mode | (fcntl.LOCK_NB if sys.argv[2] else 0))
except BlockingIOError:
    sys.exit(1)
' "$1" "${2:-}" ;;
    esac
}

# The pid of the subshell that asks: $$ is its parent's.
qf_own_pid() {
    qf_pid=$(exec sh -c 'echo $PPID')
}

# Kills the processes given unless it is itself killed within qf_silence seconds. Its sleep goes with it.
qf_deadline() {
    exec >/dev/null 2>&1
    sleep "$qf_silence" &
    qf_nap=$!
    trap 'kill $qf_nap; exit' TERM
    wait $qf_nap
    kill -9 "$@"
}

# Reads the controller's beats to their end: until its stdin closes, or none came for qf_silence seconds.
# $1 is done with each; process $2, where given, is killed too when they stop coming.
qf_beats() {
    qf_own_pid
    while :; do
        qf_deadline "$qf_pid" $2 &
        qf_timer=$!
        IFS= read -r qf_beat || break
        kill $qf_timer
        wait $qf_timer
        $1
    done
    kill $qf_timer
}
