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
            contains -- $word --allow-disk --checksum --csum --extra-kernel-args --home-fs --home-passphrase-file --home-size --home-size-mb --keyring --overlay-fs --overlay-size --overlay-size-mb --persistence --report --seed --size --timeout --totaltimeout; and set behind yes
        else if test $typed = livestick; and contains -- $word inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help
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
        sed -n '/^\\//h; /^ *can be written$/{g;s/ .*//p;}; /^ *cannot be written: mounted at [^,]*\\(, mounted at [^,]*\\)*$/{g;s/ .*//p;}'
    __livestick_files 'img|raw'
end

complete -c livestick -e
complete -c livecd-iso-to-disk -e
complete -c livestick -f
complete -c livecd-iso-to-disk -f
complete -c livestick -n '__livestick_at livestick' -s h -l help -d 'Print help'
complete -c livestick -n '__livestick_at livestick' -s V -l version -d 'Print version'
complete -c livestick -n '__livestick_at livestick 0' -x
complete -c livestick -n '__livestick_at livestick 0' -a inspect -d 'Tell what an image is, and what can be done with it'
complete -c livestick -n '__livestick_at help 0' -a inspect -d 'Tell what an image is, and what can be done with it'
complete -c livestick -n '__livestick_at inspect' -l json -d 'Give the facts as one JSON object'
complete -c livestick -n '__livestick_at inspect' -l quick -d 'Do not open the initrd and the root image, and do not compare digests'
complete -c livestick -n '__livestick_at inspect' -l checksum -r -F -d 'Compare the image with the digest that this file lists, with sha256:HEX or sha512:HEX, or with "none"'
complete -c livestick -n '__livestick_at inspect' -l keyring -r -F -d 'Keys that may sign checksum files, in place of the distribution\'s own (may be given several times)'
complete -c livestick -n '__livestick_at inspect' -s h -l help -d 'Print help'
complete -c livestick -n '__livestick_at inspect 0' -x -a '(__livestick_files "iso|img")'
complete -c livestick -n '__livestick_at livestick 0' -a list -d 'List the sticks that can be written, and why each other disk cannot'
complete -c livestick -n '__livestick_at help 0' -a list -d 'List the sticks that can be written, and why each other disk cannot'
complete -c livestick -n '__livestick_at list' -l json -d 'Give the disks as one JSON object'
complete -c livestick -n '__livestick_at list' -l loops -d 'Show loop devices too'
complete -c livestick -n '__livestick_at list' -s h -l help -d 'Print help'
complete -c livestick -n '__livestick_at livestick 0' -a write -d 'Write an image to a stick, with persistence if wanted, and verify it'
complete -c livestick -n '__livestick_at help 0' -a write -d 'Write an image to a stick, with persistence if wanted, and verify it'
complete -c livestick -n '__livestick_at write' -l size -x -d 'Make the stick image file this large, if it does not exist (8GiB)'
complete -c livestick -n '__livestick_at write' -l overlay-size-mb -x -d 'Keep changes of the live system in an overlay of this many MiB'
complete -c livestick -n '__livestick_at write' -l overlay-size -x -d 'The same with a unit (4GiB), or "rest" for all that is left'
complete -c livestick -n '__livestick_at write' -l overlay-fs -x -a 'btrfs ext4 xfs' -d 'The overlay\'s filesystem'
complete -c livestick -n '__livestick_at write' -l persistence -x -a 'overlay sprout none' -d 'How changes are kept in that room'
complete -c livestick -n '__livestick_at write' -l csum -x -a 'crc32c xxhash sha256 blake2' -d 'The checksums of a sprout, with --persistence sprout'
complete -c livestick -n '__livestick_at write' -l home-size-mb -x -d 'Make a /home of its own of this many MiB'
complete -c livestick -n '__livestick_at write' -l home-size -x -d 'The same with a unit (8GiB), or "rest" for all that is left'
complete -c livestick -n '__livestick_at write' -l home-fs -x -a 'btrfs ext4 xfs' -d 'The filesystem of /home'
complete -c livestick -n '__livestick_at write' -l home-encrypt -d 'Encrypt /home'
complete -c livestick -n '__livestick_at write' -l home-passphrase-file -r -F -d 'Take the passphrase from this file (its only line) and not from the terminal'
complete -c livestick -n '__livestick_at write' -l extra-kernel-args -x -d 'More kernel arguments, for every entry that starts the live system'
complete -c livestick -n '__livestick_at write' -s n -l dry-run -d 'Print what would be done, and write nothing'
complete -c livestick -n '__livestick_at write' -s y -l yes -d 'Do not ask before a stick is written over'
complete -c livestick -n '__livestick_at write' -l unmount -d 'Unmount what is mounted from the target'
complete -c livestick -n '__livestick_at write' -l allow-disk -x -d 'Write to a disk that does not look like a stick'
complete -c livestick -n '__livestick_at write' -l no-capacity-probe -d 'Do not probe whether the stick has the size it claims'
complete -c livestick -n '__livestick_at write' -l capacity-probe -d 'Probe it also if it does not look like a stick'
complete -c livestick -n '__livestick_at write' -l json -d 'Give the plan, the events and the report as JSON, one object a line'
complete -c livestick -n '__livestick_at write' -l seed -x -d 'Derive every identifier from this text, so that the same command gives the same stick (which must not meet its twin in one machine)'
complete -c livestick -n '__livestick_at write' -l report -r -F -d 'Write the report to this file, too (as JSON if its name ends in .json)'
complete -c livestick -n '__livestick_at write' -l checksum -r -F -d 'Compare the image with the digest that this file lists, with sha256:HEX or sha512:HEX, or with "none"'
complete -c livestick -n '__livestick_at write' -l keyring -r -F -d 'Keys that may sign checksum files, in place of the distribution\'s own (may be given several times)'
complete -c livestick -n '__livestick_at write' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livestick -n '__livestick_at write 0' -x -a '(__livestick_files "iso|img")'
complete -c livestick -n '__livestick_at write 1' -x -a '(__livestick_sticks)'
complete -c livestick -n '__livestick_at livestick 0' -a verify -d 'Compare a stick with what was written to it, without image and network'
complete -c livestick -n '__livestick_at help 0' -a verify -d 'Compare a stick with what was written to it, without image and network'
complete -c livestick -n '__livestick_at verify' -l checksum -r -F -d 'Compare the image with the digest that this file lists, with sha256:HEX or sha512:HEX, or with "none"'
complete -c livestick -n '__livestick_at verify' -l keyring -r -F -d 'Keys that may sign checksum files, in place of the distribution\'s own (may be given several times)'
complete -c livestick -n '__livestick_at verify' -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n '__livestick_at verify' -l report -r -F -d 'Write the report to this file, too (as JSON if its name ends in .json)'
complete -c livestick -n '__livestick_at verify' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livestick -n '__livestick_at verify 0' -x -a '(__livestick_sticks)'
complete -c livestick -n '__livestick_at verify 1' -x -a '(__livestick_files "iso|img")'
complete -c livestick -n '__livestick_at livestick 0' -a repair -d 'Write again what is damaged on a stick'
complete -c livestick -n '__livestick_at help 0' -a repair -d 'Write again what is damaged on a stick'
complete -c livestick -n '__livestick_at repair' -s n -l dry-run -d 'Print what would be written again, and write nothing'
complete -c livestick -n '__livestick_at repair' -s y -l yes -d 'Do not ask before anything is written'
complete -c livestick -n '__livestick_at repair' -l unmount -d 'Unmount what is mounted from the stick'
complete -c livestick -n '__livestick_at repair' -l allow-disk -x -d 'Write to a disk that does not look like a stick'
complete -c livestick -n '__livestick_at repair' -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n '__livestick_at repair' -l report -r -F -d 'Write the report to this file, too (as JSON if its name ends in .json)'
complete -c livestick -n '__livestick_at repair' -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livestick -n '__livestick_at repair 0' -x -a '(__livestick_sticks)'
complete -c livestick -n '__livestick_at repair 1' -x -a '(__livestick_files "iso|img")'
complete -c livestick -n '__livestick_at livestick 0' -a extract -d 'Get the original image back from a stick, byte for byte'
complete -c livestick -n '__livestick_at help 0' -a extract -d 'Get the original image back from a stick, byte for byte'
complete -c livestick -n '__livestick_at extract' -l force -d 'Replace the file if it exists'
complete -c livestick -n '__livestick_at extract' -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n '__livestick_at extract' -l report -r -F -d 'Write the report to this file, too (as JSON if its name ends in .json)'
complete -c livestick -n '__livestick_at extract' -s h -l help -d 'Print help'
complete -c livestick -n '__livestick_at extract 0' -x -a '(__livestick_sticks)'
complete -c livestick -n '__livestick_at extract 1' -r -F
complete -c livestick -n '__livestick_at livestick 0' -a reset -d 'Throw away what was changed on a stick, so that it starts as on its first day'
complete -c livestick -n '__livestick_at help 0' -a reset -d 'Throw away what was changed on a stick, so that it starts as on its first day'
complete -c livestick -n '__livestick_at reset' -s n -l dry-run -d 'Print what would be done, and write nothing'
complete -c livestick -n '__livestick_at reset' -s y -l yes -d 'Do not ask before anything is written'
complete -c livestick -n '__livestick_at reset' -l unmount -d 'Unmount what is mounted from the stick'
complete -c livestick -n '__livestick_at reset' -l allow-disk -x -d 'Write to a disk that does not look like a stick'
complete -c livestick -n '__livestick_at reset' -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n '__livestick_at reset' -l report -r -F -d 'Write the report to this file, too (as JSON if its name ends in .json)'
complete -c livestick -n '__livestick_at reset' -l home -d 'Throw away what is in a /home of its own, too (refused for an encrypted one)'
complete -c livestick -n '__livestick_at reset' -s h -l help -d 'Print help'
complete -c livestick -n '__livestick_at reset 0' -x -a '(__livestick_sticks)'
complete -c livestick -n '__livestick_at livestick 0' -a detach -d 'Make a sprout independent of its seed'
complete -c livestick -n '__livestick_at help 0' -a detach -d 'Make a sprout independent of its seed'
complete -c livestick -n '__livestick_at detach' -s n -l dry-run -d 'Print what would be done, and write nothing'
complete -c livestick -n '__livestick_at detach' -s y -l yes -d 'Do not ask before anything is written'
complete -c livestick -n '__livestick_at detach' -l unmount -d 'Unmount what is mounted from the stick'
complete -c livestick -n '__livestick_at detach' -l allow-disk -x -d 'Write to a disk that does not look like a stick'
complete -c livestick -n '__livestick_at detach' -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n '__livestick_at detach' -l report -r -F -d 'Write the report to this file, too (as JSON if its name ends in .json)'
complete -c livestick -n '__livestick_at detach' -s h -l help -d 'Print help'
complete -c livestick -n '__livestick_at detach 0' -x -a '(__livestick_sticks)'
complete -c livestick -n '__livestick_at livestick 0' -a probe -d 'Find out whether a stick has the size it claims'
complete -c livestick -n '__livestick_at help 0' -a probe -d 'Find out whether a stick has the size it claims'
complete -c livestick -n '__livestick_at probe' -l full -d 'Write and read everything, which takes hours'
complete -c livestick -n '__livestick_at probe' -s y -l yes -d 'Do not ask before anything is written'
complete -c livestick -n '__livestick_at probe' -l unmount -d 'Unmount what is mounted from the stick'
complete -c livestick -n '__livestick_at probe' -l allow-disk -x -d 'Write to a disk that does not look like a stick'
complete -c livestick -n '__livestick_at probe' -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n '__livestick_at probe' -l report -r -F -d 'Write the report to this file, too (as JSON if its name ends in .json)'
complete -c livestick -n '__livestick_at probe' -s h -l help -d 'Print help'
complete -c livestick -n '__livestick_at probe 0' -x -a '(__livestick_sticks)'
complete -c livestick -n '__livestick_at livestick 0' -a doctor -d 'Tell what this machine lacks of what livestick makes use of, and what each missing thing costs'
complete -c livestick -n '__livestick_at help 0' -a doctor -d 'Tell what this machine lacks of what livestick makes use of, and what each missing thing costs'
complete -c livestick -n '__livestick_at doctor' -l json -d 'Give the findings as one JSON object'
complete -c livestick -n '__livestick_at doctor' -s h -l help -d 'Print help'
complete -c livestick -n '__livestick_at livestick 0' -a livecd-iso-to-disk -d 'Write a live image to a USB stick with the command line of livecd-iso-to-disk'
complete -c livestick -n '__livestick_at help 0' -a livecd-iso-to-disk -d 'Write a live image to a USB stick with the command line of livecd-iso-to-disk'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l help -d 'Tell how it is used'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l format -d 'Write over the whole disk, and everything on it is lost'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l msdos -d 'Means --format'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l efi -l mactel -d 'Make a stick that UEFI starts'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l noesp -d 'The image\'s own EFI system partition stays'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l nomac -d 'The image\'s own partition for Macs stays where it has one'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l reset-mbr -l resetmbr -d 'Always done'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l noverify -d 'The image is not compared with what was published of it (--checksum none)'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l force -d 'Ask nothing'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l allow-disk -x -d 'Write to a disk that does not look like a stick'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l timeout -x -d 'How long the boot menu waits, in tenths of a second'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l totaltimeout -x -d 'When isolinux starts though keys are pressed, in tenths of a second'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l nobootmsg -d 'isolinux shows no message before its menu'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l nomenu -d 'The menu starts its first entry at once'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l extra-kernel-args -x -d 'More kernel arguments, for every entry of every menu that starts the live system'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l overlay-size-mb -x -d 'A persistent overlay of so many MiB, in a partition of its own without the limit of 4 GiB'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l overlayfs -d 'Always so'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l no-overlay -d 'No persistent overlay is made'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l home-size-mb -x -d 'A persistent /home of so many MiB, in a partition of its own'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l crypted-home -d 'The /home of --home-size-mb is encrypted (LUKS2)'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l home-passphrase-file -r -F -d 'Take the passphrase of the encrypted /home from this file, whose only line it is'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l unencrypted-home -d 'The /home of --home-size-mb is not encrypted'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l delete-home -d 'Together with --format'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk' -l compress -d 'The compressed root image stays as it is, as every byte of the image'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk 0' -x -a '(__livestick_files "iso|img")'
complete -c livestick -c livecd-iso-to-disk -n '__livestick_at livecd-iso-to-disk 1' -x -a '(__livestick_sticks)'
complete -c livestick -n '__livestick_at livestick 0' -a tui -d 'Choose, size, review, write and report in the terminal interface'
complete -c livestick -n '__livestick_at help 0' -a tui -d 'Choose, size, review, write and report in the terminal interface'
complete -c livestick -n '__livestick_at tui' -l ascii -d 'Draw with ASCII only'
complete -c livestick -n '__livestick_at tui' -s h -l help -d 'Print help'
complete -c livestick -n '__livestick_at tui 0' -x -a '(__livestick_files "iso|img")'
complete -c livestick -n '__livestick_at tui 1' -x -a '(__livestick_sticks)'
complete -c livestick -n '__livestick_at livestick 0' -a help -d 'Print this message or the help of the given subcommand(s)'
complete -c livestick -n '__livestick_at help 0' -a help -d 'Print this message or the help of the given subcommand(s)'
complete -c livestick -n '__livestick_at help 0' -x
