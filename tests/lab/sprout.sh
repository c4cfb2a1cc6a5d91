# shellcheck shell=bash disable=SC2154  # what boot-test and its cases set
# sprout.sh - the cases of boot-test in which changes are kept in a sprout; sourced by it.
#
# A boot is FIRMWARE:ENTRY as in the others, or
#   FIRMWARE:flipped   the default entry, with a byte flipped in the middle of a package file in the seed: reading the file
#                      fails in the guest, livestick names it, and the byte is put back
#   FIRMWARE:reset     the default entry behind `livestick reset`
#   FIRMWARE:detached  the default entry behind `livestick detach`, with the seed wiped and its partition's entry removed
#   FIRMWARE:twin      the default entry, with another stick of the same image in the machine whose seed is damaged: with
#                      an image that is a btrfs itself both seeds have one identifier, and only the own one may be read
#   FIRMWARE:seedless  the default entry with the seed's superblocks wiped: the console tells; they are put back

# A package file that no boot reads, one that has enough text to be compressed, and one that is changed.
readonly HIT=/usr/bin/btrfs CHANGED=/usr/lib/os-release
part() { # part STICK PURPOSE FIELD: of the stick's record
  "$HERE/record-reader" "$1" | python3 -c 'import json, sys
parts = json.load(sys.stdin)["record"]["partitions"]
print([part[sys.argv[2]] for part in parts if part["purpose"] == sys.argv[1]][0])' "$2" "$3"
}
with_sprout() { # with_sprout STICK SCRIPT: runs it with the seed and the sprout attached as $seed and $sprout, and with a directory mnt
  local stick=$1 d; d=$(mktemp -d); mkdir "$d/mnt"
  (
    cd "$d" || exit
    seed=$(losetup -f --show -r -o "$(part "$stick" seed at)" --sizelimit "$(part "$stick" seed length)" "$stick") || exit
    sprout=$(losetup -f --show -o "$(part "$stick" sprout at)" --sizelimit "$(part "$stick" sprout length)" "$stick") || exit
    trap 'losetup -d "$seed" "$sprout"' EXIT
    seed=$seed sprout=$sprout unshare --mount --propagation private bash -ec "$2"
  )
  local r=$?; rm -rf "$d"; return $r
}
# What the guest does before it counts (see guest-report).
hook() { # hook STICK
  with_sprout "$1" 'mount -o "device=$seed,subvol=@" "$sprout" mnt
    cat >mnt/var/lib/lab-hook; chmod 755 mnt/var/lib/lab-hook; umount mnt; btrfs device scan --forget "$seed"; btrfs device scan --forget "$sprout"' <<H
#!/bin/sh
grep -qx CHANGED=yes $CHANGED && echo changed=before || echo changed=not
grep -qx CHANGED=yes $CHANGED || echo CHANGED=yes >>$CHANGED
cat $HIT >/dev/null 2>&1 && echo read=whole || echo read=fails
cat $HIT 2>&1 >/dev/null | head -1
H
}
place() { # place STICK FILE: a byte of the file's data in the seed, as an offset into the stick
  local at logical chunk
  # The image's own btrfs has its root at the top.
  logical=$(with_sprout "$1" "mount -o ro \"\$seed\" mnt; top=mnt/@image; test -d \$top || top=mnt; filefrag -v \$top$2 | awk '/^ *0:/ { print \$4 * 4096 }'; umount mnt; btrfs device scan --forget \"\$seed\"")
  # What a chunk's addresses are on the device, by btrfs-progs.
  at=$(with_sprout "$1" 'btrfs inspect-internal dump-tree -t chunk "$seed"' | awk -v want="$logical" '
    /CHUNK_ITEM/ { sub(/.*CHUNK_ITEM /, ""); sub(/\).*/, ""); start = $0 + 0 }
    /length .* owner/ { len = $2 }
    /stripe 0 devid/ { if (want + 0 >= start && want < start + len) { print $6 + want - start } }')
  echo $(($(part "$1" seed at) + at + 100))
}
invert() { # invert STICK AT
  local byte; byte=$(od -An -tu1 -j "$2" -N1 "$1")
  printf "\\x$(printf %02x $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
superblocks() { # superblocks STICK FILE save|wipe|restore: those of the seed
  local at i=0
  for at in 65536 67108864; do
    i=$((i + 1)); at=$(($(part "$1" seed at) + at))
    case $3 in
      save) dd if="$1" of="$2.$i" bs=4096 skip=$((at / 4096)) count=1 status=none;;
      wipe) dd if=/dev/zero of="$1" bs=4096 seek=$((at / 4096)) count=1 conv=notrunc status=none;;
      restore) dd if="$2.$i" of="$1" bs=4096 seek=$((at / 4096)) conv=notrunc status=none;;
    esac
  done
}
remove_entry() { # remove_entry STICK: of the seed, with what is in the partition
  local number; number=$(part "$1" seed number)
  dd if=/dev/zero of="$1" bs=1M seek=$(($(part "$1" seed at) >> 20)) count=$(($(part "$1" seed length) >> 20)) conv=notrunc status=none
  sfdisk --delete "$1" "$number" >/dev/null
}
says() { "$LIVESTICK" "${@:2}" >"$1" 2>&1; }                   # says LOG COMMAND...
fails_with() { local s=0; says "${@:2}" || s=$?; [[ $s = "$1" ]]; }  # fails_with STATUS LOG COMMAND...
restarts() { grep -qa 'The seed of this stick (btrfs .*) is missing or damaged. Restart, and choose' "$CON"; }

run_sprout() { # run_sprout SUITE LAYOUT ROOT sprout HOME BOOT...
  local suite=$1 layout=$2 root=$3 home=$5 iso stick size b fw mode n=0 m=0 i=0 flip how keep
  CASE=$(name "$@"); shift 5
  local d=$LOGS/$CASE; mkdir -p "$d"; stick=$d/stick.img
  local write=(--size 2GiB --yes --persistence sprout --overlay-size-mb 512)
  [[ $home = - ]] || write+=(--home-size-mb 256 --home-fs "$home")
  if ! iso=$("$HERE/live-iso" --suite "$suite" --layout "$layout" --rootfs "$root" 2>"$d/live-iso.log"); then check 'the ISO is built' false; return; fi
  rm -f "$stick"
  check 'livestick writes the stick' says "$d/write.log" write "$iso" "$stick" "${write[@]}"
  [[ -s $stick ]] || return 0
  size=$(stat -c %s "$iso"); head -c "$size" "$stick" >"$d/before.img"
  check 'the sprout takes a file from outside' hook "$stick"
  for b; do
    fw=${b%:*} mode=${b#*:}; i=$((i + 1)); CON=$d/$i-$fw-$mode.log
    how=(--"$fw" --log "$CON" --quiet --timeout 600)
    case $mode in
      without)  how+=(--entry 'without persistence');;
      flipped)  flip=$(place "$stick" "$HIT"); invert "$stick" "$flip";;
      reset)    check "$b: livestick resets it" says "$d/reset.log" reset "$stick" --yes; hook "$stick"; n=0;;
      detached) check "$b: livestick detaches it" says "$d/detach.log" detach "$stick" --yes
                check "$b: livestick verifies it" says "$d/detached.log" verify "$stick"; remove_entry "$stick";;
      twin)     check "$b: livestick writes another stick" says "$d/twin.log" write "$iso" "$d/twin.img" "${write[@]}"
                invert "$d/twin.img" "$(place "$d/twin.img" "$HIT")"; how+=(--also "$d/twin.img");;
      seedless) superblocks "$stick" "$d/superblock" save; superblocks "$stick" "$d/superblock" wipe;;
    esac
    "$HERE/boot-stick" "$stick" "${how[@]}" >"$d/$i-$fw-$mode.out" 2>&1 || :
    if [[ $mode = seedless ]]; then
      check "$b: the console tells" restarts
      superblocks "$stick" "$d/superblock" restore; continue
    fi
    check "$b: comes up" said 'LAB: end'
    said 'LAB: end' || continue
    check "$b: no unit failed" nothing_failed
    case $fw in uefi) check "$b: UEFI" said 'LAB: kernel=.* firmware=uefi';; bios) check "$b: BIOS" said 'LAB: kernel=.* firmware=bios';; esac
    if [[ $mode = without ]]; then
      check "$b: counters at 1" counters 1 1
      check "$b: nothing of / is on the stick" is upper '^(none|tmpfs)'
      check "$b: / is no partition" is root '^(LiveOS_rootfs|/dev/mapper/|overlay)'
      continue
    fi
    n=$((n + 1)); m=$((m + 1))
    check "$b: counters at $n in / and $m in /home" counters "$n" "$m"
    check "$b: / is the sprout" is root '^/dev/sd[a-z][0-9]*\[/@\] btrfs rw'
    if [[ $home = - ]]; then check "$b: /home is in the sprout" is home '^/dev/sd[a-z][0-9]*\[/@home\] btrfs'
    else check "$b: /home is the $home partition" is home "^/dev/sd[a-z][0-9]* $home "; fi
    keep=not; ((n == 1)) || keep=before
    check "$b: a package file is as changed before, or not" said "LAB: hook changed=$keep"
    if [[ $mode = flipped ]]; then
      check "$b: the damaged file cannot be read" said 'LAB: hook read=fails'
      check "$b: ... for an I/O error" said "LAB: hook .*$HIT: Input/output error"
      check "$b: livestick finds it" fails_with 6 "$d/flipped.log" verify "$stick"
      check "$b: ... and names it" grep -q "cannot be read: $HIT" "$d/flipped.log"
      invert "$stick" "$flip"
    else
      check "$b: every file can be read" said 'LAB: hook read=whole'
    fi
    [[ $mode = detached ]] || check "$b: livestick verifies it" says "$d/$i-verify.log" verify "$stick"
  done
  # Removing an entry changes the table, which is the image's, too.
  [[ "$*" = *detached* ]] || {
    check 'the image is as it was before the boots' untouched "$size" "$stick" "$d/before.img"
    check 'the implanted checksum is right after the boots' sum_is_right "$stick"
  }
  if [[ ! $KEEP ]]; then
    rm -f "$d/before.img" "$d/twin.img"
    grep -q "^FAIL $CASE," "$LOGS/results" || rm -f "$stick"
  fi
}
