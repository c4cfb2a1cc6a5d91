# Completion of livestick and livecd-iso-to-disk for bash; made by tests/generated, from the parser.
# shellcheck shell=bash disable=SC2054  # the commas part the words behind an option

# What a command takes: its options, with what stands behind each, and what stands at each place.
_livestick_takes() {
    case $1 in
    livestick) options=(-h --help -V --version) places=(commands) ;;
    inspect) options=(--json --quick --checksum=files --keyring=files -h --help) places=(images) ;;
    list) options=(--json --loops -h --help) places=() ;;
    write) options=(--size=none --overlay-size-mb=none --overlay-size=none --overlay-fs=btrfs,ext4,xfs --persistence=overlay,sprout,none --csum=crc32c,xxhash,sha256,blake2 --home-size-mb=none --home-size=none --home-fs=btrfs,ext4,xfs --home-encrypt --home-passphrase-file=files --extra-kernel-args=none -n --dry-run -y --yes --unmount --allow-disk=none --no-capacity-probe --capacity-probe --json --seed=none --report=files --checksum=files --keyring=files -h --help) places=(images sticks) ;;
    verify) options=(--checksum=files --keyring=files --json --report=files -h --help) places=(sticks images) ;;
    repair) options=(-n --dry-run -y --yes --unmount --allow-disk=none --json --report=files -h --help) places=(sticks images) ;;
    extract) options=(--force --json --report=files -h --help) places=(sticks files) ;;
    reset) options=(-n --dry-run -y --yes --unmount --allow-disk=none --json --report=files --home -h --help) places=(sticks) ;;
    detach) options=(-n --dry-run -y --yes --unmount --allow-disk=none --json --report=files -h --help) places=(sticks) ;;
    probe) options=(--full -y --yes --unmount --allow-disk=none --json --report=files -h --help) places=(sticks) ;;
    doctor) options=(--json -h --help) places=() ;;
    livecd-iso-to-disk) options=(--help --format --msdos --efi --mactel --noesp --nomac --reset-mbr --resetmbr --noverify --force --allow-disk=none --timeout=none --totaltimeout=none --nobootmsg --nomenu --extra-kernel-args=none --overlay-size-mb=none --overlayfs --no-overlay --home-size-mb=none --crypted-home --home-passphrase-file=files --unencrypted-home --delete-home --compress) places=(images sticks) ;;
    tui) options=(--ascii -h --help) places=(images sticks) ;;
    help) options=() places=(topics) ;;
    *) return 1 ;;
    esac
}

# The sticks of this machine that can be written, or could be if they were unmounted.
_livestick_disks() {
    livestick list 2>/dev/null |
        sed -n '/^\//h; /^ *can be written$/{g;s/ .*//p;}; /^ *cannot be written: mounted at [^,]*\(, mounted at [^,]*\)*$/{g;s/ .*//p;}'
}

_livestick_offer() { # KIND WORD
    case $1 in
    none) ;;
    commands | topics) compgen -W 'inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help' -- "$2" ;;
    files) compgen -f -- "$2" ;;
    images)
        compgen -f -X '!*.[iI][sS][oO]' -- "$2"
        compgen -f -X '!*.[iI][mM][gG]' -- "$2"
        compgen -d -- "$2"
        ;;
    sticks)
        compgen -W "$(_livestick_disks)" -- "$2"
        compgen -f -X '!*.[iI][mM][gG]' -- "$2"
        compgen -f -X '!*.[rR][aA][wW]' -- "$2"
        compgen -d -- "$2"
        ;;
    *) compgen -W "${1//,/ }" -- "$2" ;;
    esac
}

_livestick() {
    local IFS=$' \t\n' word=${COMP_WORDS[COMP_CWORD]} command=livestick kind='' place=0 plain='' one option i
    local -a options places
    [[ ${COMP_WORDS[0]##*/} != livecd-iso-to-disk ]] || command=livecd-iso-to-disk
    _livestick_takes "$command"
    for ((i = 1; i < COMP_CWORD; i++)); do
        one=${COMP_WORDS[i]}
        # "--option=word" comes as three words.
        if [[ $one = '=' ]]; then
            continue
        elif [[ $kind ]]; then
            kind=''
        elif [[ ! $plain && $one = -- ]]; then
            plain=1
        elif [[ ! $plain && $one = -?* ]]; then
            for option in "${options[@]}"; do
                [[ $option != "$one="* ]] || kind=${option#*=}
            done
        elif [[ ${places[place]-} = commands ]] && _livestick_takes "$one"; then
            command=$one place=0
        else
            place=$((place + 1))
        fi
    done
    [[ $word != '=' ]] || word=''
    if [[ ! $kind && ! $plain && $word = -* ]]; then
        kind=$(printf '%s,' "${options[@]%%=*}")
    fi
    : "${kind:=${places[place]-none}}"
    COMPREPLY=()
    case $kind in
    # Spaces in them are quoted, and a directory gets its slash.
    files | images | sticks) compopt -o filenames 2>/dev/null ;;
    esac
    while IFS= read -r one; do
        COMPREPLY+=("$one")
    done < <(_livestick_offer "$kind" "$word")
}

complete -F _livestick livestick livecd-iso-to-disk
