# Holds this machine's lease for a controller elsewhere: the same files as agents/leases.py, same format.
# $1: the holder as a JSON string; $2: a name for a new lineage of tokens. Says on stdout, line by line:
#   wait NOTE       taken; NOTE is the second line of DEVICE.lock
#   ending          ours, but a run has not come to its end yet
#   token LINEAGE COUNT
#   beat …          each beat of the controller again, so that it knows that we live
#   error WHY
# The lock lies on file descriptor 9 of this shell alone and dies with it.

LC_ALL=C

qf_fail() {
    printf 'error %s\n' "$1"
    exit 1
}

qf_echo() {
    echo "beat $qf_beat"
}

# Ends this shell, and so frees the lock, when the controller is gone.
qf_answer() {
    exec <&3 2>/dev/null 3<&- 9<&- # and not as redirections of the call: mksh would keep a copy of the lock
    qf_beats qf_echo $$
    kill $$
}

# qf_wait x NEWS: until descriptor 9 is locked; each second tells NEWS.
qf_wait() {
    qf_looks=0
    until qf_lock x n; do
        [ $? -eq 1 ] || qf_fail "$qf_locker cannot lock in $qf_leases"
        $1 || exit
        qf_looks=$((qf_looks + 1))
        # Quick at first: what another is just letting go of. Later seldom: the device may be measuring.
        if [ $qf_looks -le 5 ]; then sleep 0.2 9<&- 2>/dev/null || sleep 1 9<&-; else sleep 1 9<&-; fi
    done
}

qf_tell_holder() {
    qf_note=
    { IFS= read -r qf_first && IFS= read -r qf_note; } <"$qf_leases/local.lock"
    printf 'wait %.1000s\n' "$qf_note"
}

qf_tell_ending() {
    echo ending
}

# The token after the one in the file; a file without one begins a lineage.
qf_next() {
    qf_first=
    IFS= read -r qf_first <"$qf_leases/local.lock"
    qf_lineage=${qf_first%% *}
    qf_count=${qf_first#* }
    case $qf_lineage in '' | *[!0-9a-f-]*) qf_count= ;; esac
    [ ${#qf_lineage} -le 64 ] || qf_count=
    case $qf_count in '' | *[!0-9]* | 0?* | ??????????????????*)
        qf_lineage=$1
        qf_count=0
        ;;
    esac
    qf_count=$((qf_count + 1))
}

qf_write() {
    qf_now=$(date -u +%Y-%m-%dT%H:%M:%S+00:00)
    set -- '%s %s\n{"holder": %s, "pid": %s, "since": "%s"}\n' "$qf_lineage" "$qf_count" "$1" $$ "$qf_now"
    # `<>` and not `>`, which empties the file first: killed between the two, this would end a lineage of tokens.
    # What a longer note left behind the second line is nobody's. By way of the open file where that may not be
    # opened so: see qf_make_file.
    { printf "$@" 1<>"$qf_leases/local.lock"; } 2>/dev/null ||
        { printf "$@" 1<>/proc/self/fd/9; } 2>/dev/null ||
        qf_fail "$qf_leases/local.lock cannot be written"
}

qf_keep() {
    qf_answer &
    qf_answers=$!
    qf_wait qf_tell_holder
    { qf_wait qf_tell_ending; } 9<"$qf_leases/local.run"
    qf_next "$2"
    qf_write "$1"
    echo "token $qf_lineage $qf_count"
    wait $qf_answers
}

echo # ends whatever line a profile of the login shell may have begun
qf_find_locker || qf_fail "$qf_why"
qf_find_leases || qf_fail "$qf_why"
for qf_file in lock run; do
    qf_make_file "$qf_leases/local.$qf_file" || qf_fail "$qf_why"
done
qf_keep "$@" 3<&0 9<"$qf_leases/local.lock"
