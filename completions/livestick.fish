# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_livestick_global_optspecs
    string join \n h/help V/version
end

function __fish_livestick_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_livestick_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_livestick_using_subcommand
    set -l cmd (__fish_livestick_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c livestick -n "__fish_livestick_needs_command" -s h -l help -d 'Print help'
complete -c livestick -n "__fish_livestick_needs_command" -s V -l version -d 'Print version'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "inspect" -d 'Tell what an image is, and what can be done with it'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "list" -d 'List the sticks that can be written, and why each other disk cannot'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "write" -d 'Write an image to a stick, with persistence if wanted, and verify it'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "verify" -d 'Compare a stick with what was written to it, without image and network'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "repair" -d 'Write again what is damaged on a stick'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "extract" -d 'Get the original image back from a stick, byte for byte'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "reset" -d 'Throw away what was changed on a stick, so that it starts as on its first day'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "detach" -d 'Make a sprout independent of its seed'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "probe" -d 'Find out whether a stick has the size it claims'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "doctor" -d 'Tell what this machine lacks of what livestick makes use of, and what each missing thing costs'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "livecd-iso-to-disk" -d 'Take the command line of livecd-iso-to-disk; `--help` behind it tells its options'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "tui" -d 'Choose, size, review, write and report in the terminal interface'
complete -c livestick -n "__fish_livestick_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c livestick -n "__fish_livestick_using_subcommand inspect" -l checksum -d 'Compare the image with the digest that this file lists, with sha256:HEX or sha512:HEX, or with "none" [default: for inspect and write the checksum file beside the image, for verify none]' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand inspect" -l keyring -d 'Keys that may sign checksum files, in place of the distribution\'s own (may be given several times)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand inspect" -l json -d 'Give the facts as one JSON object'
complete -c livestick -n "__fish_livestick_using_subcommand inspect" -l quick -d 'Do not open the initrd and the root image, and do not compare digests'
complete -c livestick -n "__fish_livestick_using_subcommand inspect" -s h -l help -d 'Print help'
complete -c livestick -n "__fish_livestick_using_subcommand list" -l json -d 'Give the disks as one JSON object'
complete -c livestick -n "__fish_livestick_using_subcommand list" -l loops -d 'Show loop devices too'
complete -c livestick -n "__fish_livestick_using_subcommand list" -s h -l help -d 'Print help'
complete -c livestick -n "__fish_livestick_using_subcommand write" -l size -d 'Make the stick image file this large, if it does not exist (8GiB)' -r
complete -c livestick -n "__fish_livestick_using_subcommand write" -l overlay-size-mb -d 'Keep changes of the live system in an overlay of this many MiB' -r
complete -c livestick -n "__fish_livestick_using_subcommand write" -l overlay-size -d 'The same with a unit (4GiB), or "rest" for all that is left' -r
complete -c livestick -n "__fish_livestick_using_subcommand write" -l overlay-fs -d 'The overlay\'s filesystem [default: the best that the image can mount]' -r -f -a "btrfs\t'Checksums on data and metadata, compression'
ext4\t'A journal, checksums on metadata'
xfs\t'A journal, checksums on metadata'"
complete -c livestick -n "__fish_livestick_using_subcommand write" -l persistence -d 'How changes are kept in that room [default: sprout if the image\'s root is a btrfs and image and machine can have one, else overlay]' -r -f -a "overlay\t'In an overlay over the image\'s own root'
sprout\t'In a btrfs that grows from a seed, which is made of the image\'s root or is it: every read is checked (takes root)'
none\t'Not at all'"
complete -c livestick -n "__fish_livestick_using_subcommand write" -l csum -d 'The checksums of a sprout, with --persistence sprout [default: crc32c, or what the image\'s own btrfs has]' -r -f -a "crc32c\t'32 bits, the fastest'
xxhash\t'64 bits'
sha256\t'256 bits, cryptographic'
blake2\t'256 bits, cryptographic'"
complete -c livestick -n "__fish_livestick_using_subcommand write" -l home-size-mb -d 'Make a /home of its own of this many MiB' -r
complete -c livestick -n "__fish_livestick_using_subcommand write" -l home-size -d 'The same with a unit (8GiB), or "rest" for all that is left' -r
complete -c livestick -n "__fish_livestick_using_subcommand write" -l home-fs -d 'The filesystem of /home [default: the best that the image can mount]' -r -f -a "btrfs\t'Checksums on data and metadata, compression'
ext4\t'A journal, checksums on metadata'
xfs\t'A journal, checksums on metadata'"
complete -c livestick -n "__fish_livestick_using_subcommand write" -l home-passphrase-file -d 'Take the passphrase from this file (its only line) and not from the terminal' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand write" -l extra-kernel-args -d 'More kernel arguments, for every entry that starts the live system' -r
complete -c livestick -n "__fish_livestick_using_subcommand write" -l allow-disk -d 'Write to a disk that does not look like a stick: its serial, or its path if it has none' -r
complete -c livestick -n "__fish_livestick_using_subcommand write" -l seed -d 'Derive every identifier from this text, so that the same command gives the same stick (which must not meet its twin in one machine); an encrypted /home is another each time' -r
complete -c livestick -n "__fish_livestick_using_subcommand write" -l report -d 'Write the report to this file, too (as JSON if its name ends in .json)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand write" -l checksum -d 'Compare the image with the digest that this file lists, with sha256:HEX or sha512:HEX, or with "none" [default: for inspect and write the checksum file beside the image, for verify none]' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand write" -l keyring -d 'Keys that may sign checksum files, in place of the distribution\'s own (may be given several times)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand write" -l home-encrypt -d 'Encrypt /home; the passphrase is asked for now, twice, and at each boot'
complete -c livestick -n "__fish_livestick_using_subcommand write" -s n -l dry-run -d 'Print what would be done, and write nothing'
complete -c livestick -n "__fish_livestick_using_subcommand write" -s y -l yes -d 'Do not ask before a stick is written over'
complete -c livestick -n "__fish_livestick_using_subcommand write" -l unmount -d 'Unmount what is mounted from the target'
complete -c livestick -n "__fish_livestick_using_subcommand write" -l no-capacity-probe -d 'Do not probe whether the stick has the size it claims'
complete -c livestick -n "__fish_livestick_using_subcommand write" -l capacity-probe -d 'Probe it also if it does not look like a stick'
complete -c livestick -n "__fish_livestick_using_subcommand write" -l json -d 'Give the plan, the events and the report as JSON, one object a line'
complete -c livestick -n "__fish_livestick_using_subcommand write" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livestick -n "__fish_livestick_using_subcommand verify" -l checksum -d 'Compare the image with the digest that this file lists, with sha256:HEX or sha512:HEX, or with "none" [default: for inspect and write the checksum file beside the image, for verify none]' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand verify" -l keyring -d 'Keys that may sign checksum files, in place of the distribution\'s own (may be given several times)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand verify" -l report -d 'Write the report to this file, too (as JSON if its name ends in .json)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand verify" -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n "__fish_livestick_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livestick -n "__fish_livestick_using_subcommand repair" -l allow-disk -d 'Write to a disk that does not look like a stick: its serial, or its path if it has none' -r
complete -c livestick -n "__fish_livestick_using_subcommand repair" -l report -d 'Write the report to this file, too (as JSON if its name ends in .json)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand repair" -s n -l dry-run -d 'Print what would be written again, and write nothing'
complete -c livestick -n "__fish_livestick_using_subcommand repair" -s y -l yes -d 'Do not ask before anything is written'
complete -c livestick -n "__fish_livestick_using_subcommand repair" -l unmount -d 'Unmount what is mounted from the stick'
complete -c livestick -n "__fish_livestick_using_subcommand repair" -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n "__fish_livestick_using_subcommand repair" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c livestick -n "__fish_livestick_using_subcommand extract" -l report -d 'Write the report to this file, too (as JSON if its name ends in .json)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand extract" -l force -d 'Replace the file if it exists'
complete -c livestick -n "__fish_livestick_using_subcommand extract" -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n "__fish_livestick_using_subcommand extract" -s h -l help -d 'Print help'
complete -c livestick -n "__fish_livestick_using_subcommand reset" -l allow-disk -d 'Write to a disk that does not look like a stick: its serial, or its path if it has none' -r
complete -c livestick -n "__fish_livestick_using_subcommand reset" -l report -d 'Write the report to this file, too (as JSON if its name ends in .json)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand reset" -s n -l dry-run -d 'Print what would be done, and write nothing'
complete -c livestick -n "__fish_livestick_using_subcommand reset" -s y -l yes -d 'Do not ask before anything is written'
complete -c livestick -n "__fish_livestick_using_subcommand reset" -l unmount -d 'Unmount what is mounted from the stick'
complete -c livestick -n "__fish_livestick_using_subcommand reset" -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n "__fish_livestick_using_subcommand reset" -l home -d 'Throw away what is in a /home of its own, too (refused for an encrypted one); a /home in the overlay goes anyway'
complete -c livestick -n "__fish_livestick_using_subcommand reset" -s h -l help -d 'Print help'
complete -c livestick -n "__fish_livestick_using_subcommand detach" -l allow-disk -d 'Write to a disk that does not look like a stick: its serial, or its path if it has none' -r
complete -c livestick -n "__fish_livestick_using_subcommand detach" -l report -d 'Write the report to this file, too (as JSON if its name ends in .json)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand detach" -s n -l dry-run -d 'Print what would be done, and write nothing'
complete -c livestick -n "__fish_livestick_using_subcommand detach" -s y -l yes -d 'Do not ask before anything is written'
complete -c livestick -n "__fish_livestick_using_subcommand detach" -l unmount -d 'Unmount what is mounted from the stick'
complete -c livestick -n "__fish_livestick_using_subcommand detach" -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n "__fish_livestick_using_subcommand detach" -s h -l help -d 'Print help'
complete -c livestick -n "__fish_livestick_using_subcommand probe" -l allow-disk -d 'Write to a disk that does not look like a stick: its serial, or its path if it has none' -r
complete -c livestick -n "__fish_livestick_using_subcommand probe" -l report -d 'Write the report to this file, too (as JSON if its name ends in .json)' -r -F
complete -c livestick -n "__fish_livestick_using_subcommand probe" -l full -d 'Write and read everything, which takes hours; all data is lost'
complete -c livestick -n "__fish_livestick_using_subcommand probe" -s y -l yes -d 'Do not ask before anything is written'
complete -c livestick -n "__fish_livestick_using_subcommand probe" -l unmount -d 'Unmount what is mounted from the stick'
complete -c livestick -n "__fish_livestick_using_subcommand probe" -l json -d 'Give the events and the report as JSON, one object a line'
complete -c livestick -n "__fish_livestick_using_subcommand probe" -s h -l help -d 'Print help'
complete -c livestick -n "__fish_livestick_using_subcommand doctor" -l json -d 'Give the findings as one JSON object'
complete -c livestick -n "__fish_livestick_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c livestick -n "__fish_livestick_using_subcommand tui" -l ascii -d 'Draw with ASCII only'
complete -c livestick -n "__fish_livestick_using_subcommand tui" -s h -l help -d 'Print help'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "inspect" -d 'Tell what an image is, and what can be done with it'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "list" -d 'List the sticks that can be written, and why each other disk cannot'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "write" -d 'Write an image to a stick, with persistence if wanted, and verify it'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "verify" -d 'Compare a stick with what was written to it, without image and network'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "repair" -d 'Write again what is damaged on a stick'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "extract" -d 'Get the original image back from a stick, byte for byte'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "reset" -d 'Throw away what was changed on a stick, so that it starts as on its first day'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "detach" -d 'Make a sprout independent of its seed'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "probe" -d 'Find out whether a stick has the size it claims'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "doctor" -d 'Tell what this machine lacks of what livestick makes use of, and what each missing thing costs'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "livecd-iso-to-disk" -d 'Take the command line of livecd-iso-to-disk; `--help` behind it tells its options'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "tui" -d 'Choose, size, review, write and report in the terminal interface'
complete -c livestick -n "__fish_livestick_using_subcommand help; and not __fish_seen_subcommand_from inspect list write verify repair extract reset detach probe doctor livecd-iso-to-disk tui help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
