# Completion of livestick and livecd-iso-to-disk for fish; made by tests/generated, from the parser.

# Whether the command that is typed is this one, and the word under the cursor at this place of it.
function __livestick_at --argument-names command place
    set -l words (commandline -opc)
    set -l typed livestick
    set -l number 0
    set -l behind no
    set -l plain no
    string match -qr '(^|/)livecd-iso-to-disk$' -- $words[1]; and set typed livecd-iso-to-disk
    for word in $words[2..-1]
        if test $behind = yes
            set behind no
        else if test $plain = no; and test "x$word" = x--
            set plain yes
        else if test $plain = no; and string match -q -- '-?*' $word
            contains -- $word @VALUED@; and set behind yes
        else if test $typed = livestick; and contains -- $word @NAMES@
            set typed $word
            set number 0
        else
            set number (math $number + 1)
        end
    end
    test $typed = $command; and begin
        test -z "$place"; or test $place = $number
    end
end

# Files with one of these endings, and directories.
function __livestick_files
    set -l word (commandline -ct)
    complete -C "__fish_command_without_completions $word" | string match -ri "^[^\t]*(?:/|\.(?:$argv[1]))(?=\$|\t)"
end

# The sticks of this machine that can be written, or could be if they were unmounted; and stick image files.
function __livestick_sticks
    livestick list 2>/dev/null |
        sed -n '@SED@'
    __livestick_files 'img|raw'
end

complete -c livestick -e
complete -c livecd-iso-to-disk -e
complete -c livestick -f
complete -c livecd-iso-to-disk -f
@COMMANDS@
