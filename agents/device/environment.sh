# A Python environment of its own for a runner: $1 FOLDER, $2 its name, $3 a Python to take (or none),
# $4 the oldest minor version of Python 3 that will do, $5 a mark; then the requirements.
# Says `$5 python PATH` at the end; what uv or pip say comes before. Exit status 3: no Python that will do.

qf_try_python() {
    [ -n "$1" ] && command -v "$1" >/dev/null &&
        "$1" -c "import sys; sys.exit(not (3, $qf_minor) <= sys.version_info[:2])" 2>/dev/null &&
        qf_python=$1
}

qf_find_python() {
    if [ -n "$qf_given" ]; then
        qf_try_python "$qf_given"
        return
    fi
    for qf_one in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python; do
        qf_try_python $qf_one && return
    done
    return 1
}

# A shell that nobody logged in to may lack the folders where people put uv.
qf_find_uv() {
    for qf_uv in uv "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv" /opt/homebrew/bin/uv /usr/local/bin/uv; do
        command -v "$qf_uv" >/dev/null && return
    done
    return 1
}

qf_with_uv() {
    qf_find_uv || return
    echo "making an environment with uv"
    UV_PYTHON_DOWNLOADS=never "$qf_uv" venv --python "$qf_python" "$qf_place" &&
        "$qf_uv" pip install --python "$qf_place/bin/python" "$@"
}

qf_with_pip() {
    echo "making an environment with $qf_python -m venv"
    rm -rf "$qf_place"
    if ! "$qf_python" -m venv "$qf_place"; then
        echo "$qf_python cannot make environments: install its venv module (Debian: python3-venv), or uv" >&2
        return 1
    fi
    "$qf_place/bin/python" -m pip install --disable-pip-version-check "$@"
}

qf_make() {
    [ -f "$qf_place/.finished" ] && return
    rm -rf "$qf_place" # begun and not finished
    if ! qf_find_python; then
        echo "no Python 3.$qf_minor or newer${qf_given:+ at $qf_given}" >&2
        return 3
    fi
    # uv may know another index than pip does, so where it fails pip has its turn.
    if qf_with_uv "$@" || qf_with_pip "$@"; then
        : >"$qf_place/.finished"
        return
    fi
    rm -rf "$qf_place"
    return 1
}

case $1 in "~/"*) qf_folder=$HOME/${1#"~/"} ;; *) qf_folder=$1 ;; esac
mkdir -p "$qf_folder/envs" || exit
qf_place=$(cd "$qf_folder/envs" && pwd -P)/$2
qf_given=$3
qf_minor=$4
qf_end=$5
shift 5
: >>"$qf_place.lock"
{
    qf_find_locker && qf_lock x
    qf_make "$@" 2>&1
    qf_status=$?
} 9<"$qf_place.lock"
[ $qf_status -eq 0 ] && echo "$qf_end python $qf_place/bin/python"
exit $qf_status
