# Files that lie on the device by digest: FOLDER/files/SHA256/NAME, while they arrive FOLDER/files/SHA256/.NAME.part.
# $1 is what to do; it answers in lines `KEY VALUE`, the last one the controller's mark and the exit status.

qf_digest() {
    # openssl first: it uses what the processor has for this, four times as fast here.
    if command -v openssl >/dev/null; then openssl dgst -sha256 -r <"$1"
    elif command -v sha256sum >/dev/null; then sha256sum <"$1"
    elif command -v shasum >/dev/null; then shasum -a 256 <"$1"
    elif command -v toybox >/dev/null; then toybox sha256sum <"$1"
    else
        echo "no openssl, sha256sum, shasum or toybox here: one of them is needed to check what is sent" >&2
        return 1
    fi
}

# What a file's mark of being checked says: its size, and since when this machine is up (a power cut
# may have lost what a file system had not written yet, so after one it is checked again).
qf_checked() {
    echo "$1 $(cat /proc/sys/kernel/random/boot_id 2>/dev/null || sysctl -n kern.bootsessionuuid 2>/dev/null)"
}

qf_size() {
    qf_bytes=$(wc -c <"$1") && echo $qf_bytes # unquoted: a Mac's wc pads with spaces
}

# Whether $1 is the file of digest $2: by its mark where it has not been touched since, else computed.
qf_is() {
    [ -f "$1" ] || return
    if [ -f "$1.checked" ] && [ ! "$1" -nt "$1.checked" ]; then
        [ "$(cat "$1.checked")" = "$(qf_checked "$(qf_size "$1")")" ] && return
    fi
    qf_found=$(qf_digest "$1") || exit
    [ "${qf_found%% *}" = "$2" ] || return
    qf_checked "$(qf_size "$1")" >"$1.checked"
}

# look FOLDER SHA256 NAME MODE: is it there? how much of it? how much room? Makes the folder.
qf_look() {
    case $1 in "~/"*) qf_folder=$HOME/${1#"~/"} ;; *) qf_folder=$1 ;; esac
    mkdir -p "$qf_folder/files/$2" || return
    cd "$qf_folder/files/$2" || return
    printf 'folder %s\n' "$(cd "$qf_folder" && pwd -P)"
    if qf_is "./$3" "$2"; then
        chmod "$4" "./$3"
        echo present
    elif [ -f "./.$3.part" ]; then
        echo "part $(qf_size "./.$3.part")"
    fi
    df -Pk . | { read -r qf_head && read -r qf_disk qf_all qf_used qf_free qf_rest && echo "free_kib $qf_free"; }
}

# settle FOLDER SHA256 NAME MODE: gives what has arrived its name, if it is what it should be.
qf_settle() {
    cd "$1/files/$2" || return
    if [ ! -f "./.$3.part" ]; then
        qf_is "./$3" "$2" # another controller sent the same, and was first
        return
    fi
    qf_found=$(qf_digest "./.$3.part") || return
    if [ "${qf_found%% *}" != "$2" ]; then
        echo "differs ${qf_found%% *}"
        rm -f "./.$3.part"
        return
    fi
    chmod "$4" "./.$3.part" && mv -f "./.$3.part" "./$3" && qf_checked "$(qf_size "./$3")" >"./$3.checked"
}

# drop FOLDER SHA256 NAME: takes away what has arrived so far, and says how much room there is then.
qf_drop() {
    cd "$1/files/$2" || return
    rm -f "./.$3.part"
    df -Pk . | { read -r qf_head && read -r qf_disk qf_all qf_used qf_free qf_rest && echo "free_kib $qf_free"; }
}

# sum PATH: the digest and size of a file.
qf_sum() {
    [ -f "$1" ] || {
        echo "no such file: $1" >&2
        return 1
    }
    echo "size $(qf_size "$1")"
    qf_found=$(qf_digest "$1") && echo "sha256 ${qf_found%% *}"
}

echo "$qf_mark begin"
(qf_"$@")
echo "$qf_mark $?"
