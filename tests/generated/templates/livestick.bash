# Completion of livestick and livecd-iso-to-disk for bash; made by tests/generated, from the parser.
# shellcheck shell=bash disable=SC2054  # the commas part the words behind an option

# What a command takes: its options, with what stands behind each, and what stands at each place.
_livestick_takes() {
    case $1 in
@COMMANDS@
    *) return 1 ;;
    esac
}

# The sticks of this machine that can be written, or could be if they were unmounted.
_livestick_disks() {
    livestick list 2>/dev/null |
        sed -n '@SED@'
}

_livestick_offer() { # KIND WORD
    case $1 in
    none) ;;
    commands | topics) compgen -W '@NAMES@' -- "$2" ;;
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
