# Runs "$@" for a controller elsewhere, in a session of its own. Its stdin stays open while the controller
# beats; then it closes, and qf_grace seconds later what is left of the session is killed.
#
#   qf_beats ──pipe──> stdin of the command      nothing is ever written to it: its end is the news
#              └─────> qf_linger                 sees the same end, waits, kills
#
# All that the command starts holds DEVICE.run, shared: a lease begins only when the last of it is gone.
# The last line of stdout is the controller's mark and the exit status. fd 3: controller, 4: stdout, 7: the pipe.

# What these three do not need they close by `exec`: mksh keeps copies of what a redirection hides.
qf_listen() {
    exec <&3 2>/dev/null 3<&- 4>&- 9<&-
    qf_beats :
}

qf_session() {
    exec <&7 >&4 3<&- 4>&- 7<&-
    command -v setsid >/dev/null && exec setsid "$@"
    exec "$@" # the `set -m` of qf_work has given it a process group
}

qf_linger() {
    exec <&7 >/dev/null 2>&1 3<&- 4>&- 7<&- 9<&-
    IFS= read -r qf_rest
    sleep "$qf_grace"
    kill -9 -"$qf_command" || kill -9 "$qf_command"
}

qf_work() {
    command -v setsid >/dev/null || set -m
    qf_session "$@" &
    qf_command=$!
    qf_linger &
    qf_lingers=$!
    wait $qf_command
    qf_status=$?
    kill -9 $qf_lingers -$qf_command 2>/dev/null # nothing that it started stays behind
    echo "$qf_mark $qf_status" >&4
}

qf_all() {
    qf_listen | qf_work "$@" 7<&0 &
    wait $! # for qf_work alone: qf_beats ends when the controller, told of the end, closes its side
}

echo "$qf_mark begin" # what a profile of the login shell printed before is none of ours
if qf_find_leases && qf_make_file "$qf_leases/local.run" && qf_find_locker; then
    { qf_lock s && qf_all "$@"; } 3<&0 4>&1 9<"$qf_leases/local.run"
else
    # Without a lock nobody can lease this device, but it can be looked at.
    qf_all "$@" 3<&0 4>&1
fi
