# shellcheck shell=bash
# layout.sh - sourced by small-iso and live-iso: turns a kernel, an initrd and a root image into an ISO that is laid out as
# the live media of a distribution are, with the xorriso options of the programs that build those.
#
#   isolinux      Fedora up to 36: isohybrid MBR, isolinux.bin, images/efiboot.img inside the ISO; no valid GPT
#   isolinux-mac  the same with an HFS+ stand-in, images/macboot.img: MBR slot 3 has type 0 but is in use
#   grub2         Fedora 37 to 41: GPT of 248 entries, appended ESP with a full menu of its own, Gap1 at the end
#   kiwi          Fedora 42 and later: GPT, appended ESP whose grub.cfg only points to the one menu in the ISO
#   apm           grub-mkrescue: GPT and an Apple partition map, MBR entry of type 0xcd or protective
#   debian-live   live-build: isohybrid MBR with partition 1 from sector 64, kernel and root in /live
#   plain         El Torito only: nothing that a stick could start from
#
# Usage: set the variables below, then call layout_iso.
#   L_LAYOUT L_OUT L_KERNEL L_INITRD L_ROOT      layout, ISO to write, the three files
#   L_PLACE     where the root image goes; empty: what the layout has (LiveOS/squashfs.img, live/filesystem.squashfs)
#   L_LABEL     the volume label, also in root=live:CDLABEL=
#   L_TITLE     the system's name in the menus
#   L_ARGS      kernel arguments that tell the initrd to boot live; empty: what the layout has
#   L_TAIL      the arguments at the end of each line (quiet rhgb)
#   L_DEFAULT   the entry that starts by itself, 0 = Start, 1 = media check
#   L_TIMEOUT   seconds
#   L_SERIAL    1: menus on the first serial line, too
#   L_SLACK     a number: pad each boot configuration file so that this many bytes are left in its last 2048-byte block
#   L_HARD      1: pad with lines that are in use; strip comments, blank lines and indentation: nothing is left to drop
#   L_MD5       1: implant the checksum of the media check
#   L_SIGNED    a directory with shim and signed GRUB as Debian's packages unpack; empty: an unsigned GRUB
#   L_MODULES   all: every BIOS GRUB module (it can boot);  few: some of them (small)
#   L_ESP_MIB   size of the EFI system partition; empty: what the layout has
#   L_TMP       a directory for temporary files, on the same filesystem as the three files (they are hard-linked)

layout_defaults() {
  L_LAYOUT=grub2 L_OUT='' L_KERNEL='' L_INITRD='' L_ROOT='' L_PLACE='' L_LABEL='' L_TITLE='Lab-Workstation-Live 42' L_ARGS='' L_TAIL='quiet rhgb'
  L_DEFAULT=1 L_TIMEOUT=60 L_SERIAL='' L_SLACK='' L_HARD='' L_MD5=1 L_SIGNED='' L_MODULES=all L_ESP_MIB='' L_TMP=''
}
LAYOUTS='isolinux isolinux-mac grub2 kiwi apm debian-live plain'

# ---- padding

# layout_pad N PREFIX SUFFIX: exactly N bytes of lines (N is at least 16)
layout_pad() {
  local n=$1 pre=$2 post=$3 words='' max=80 len
  while ((${#words} < 4096)); do words+='theme font box progress label terminal menu entry '; done
  while ((n > 0)); do
    len=$n; ((n > max + 16)) && len=$max
    printf '%s%s%s\n' "$pre" "${words:0:len - ${#pre} - ${#post} - 1}" "$post"
    ((n -= len)) || :
  done
}

# layout_fit FILE grub|isolinux: applies L_HARD and L_SLACK to a boot configuration file
layout_fit() {
  local f=$1 kind=$2 size pad
  if [[ $L_HARD ]]; then sed -i -E '/^[ \t]*#/d; /^[ \t]*$/d; s/^[ \t]+//; s/[ \t]+#.*$//' "$f"; fi
  [[ $L_SLACK ]] || return 0
  size=$(stat -c %s "$f")
  pad=$(( (4096 - (size + L_SLACK) % 2048) % 2048 )); ((pad == 0 || pad >= 16)) || ((pad += 2048))
  ((pad)) || return 0
  case $kind:$L_HARD in
    *:)         layout_pad "$pad" '# ' '' ;;
    grub:1)     layout_pad "$pad" "set lab='" "'" ;;
    isolinux:1) layout_pad "$pad" 'say ' '' ;;
  esac >"$f.pad"
  cat "$f.pad" >>"$f"; rm "$f.pad"
}

# ---- menus

# layout_grub_cfg bios|efi|both KERNEL INITRD SEARCH-ARGUMENTS [PREFIX]: the shape of Fedora's (lorax' and kiwi's templates)
layout_grub_cfg() {
  local fw=$1 k=$2 i=$3 search=$4 class='--class fedora --class gnu-linux --class gnu --class os' a="$L_ARGS" basic=nomodeset q="'"
  printf 'set default="%s"\n\n' "$L_DEFAULT"
  case $fw in
    both) # kiwi: one file for both firmwares
      q='"' basic='${basicgfx}'
      cat <<'G'
if [ "$grub_platform" == "efi" ]; then
	function load_video {
		insmod efi_gop
		insmod efi_uga
		insmod video_bochs
		insmod video_cirrus
		insmod all_video
	}
	set basicgfx="nomodeset"
else
	function load_video {
		insmod all_video
	}
	set basicgfx="nomodeset vga=791"
fi

G
      ;;
    efi) printf '%s\n' 'function load_video {' '  insmod efi_gop' '  insmod efi_uga' '  insmod video_bochs' '  insmod video_cirrus' '  insmod all_video' '}' '' ;;
    bios) printf '%s\n' 'function load_video {' '  insmod all_video' '}' '' ;;
  esac
  printf '%s\n' 'load_video' 'set gfxpayload=keep' 'insmod gzio' 'insmod part_gpt' 'insmod ext2'
  [[ $fw = both ]] || echo 'insmod chain'
  if [[ $L_SERIAL ]]; then printf '%s\n' 'serial --unit=0 --speed=115200' 'terminal_input serial console' 'terminal_output serial console'
  elif [[ $fw = both ]]; then printf '%s\n' '' 'terminal_input console' 'terminal_output gfxterm'; fi
  printf '\nset timeout=%s\n' "$L_TIMEOUT"
  if [[ $fw = both ]]; then printf 'set timeout_style=menu\n\n'; else printf '### END /etc/grub.d/00_header ###\n\n'; fi
  printf 'search %s\n\n' "$search"
  [[ $fw = both ]] || echo '### BEGIN /etc/grub.d/10_linux ###'
  printf "menuentry ${q}%s${q} %s {\n\tlinux %s %s %s\n\tinitrd %s\n}\n" \
    "Start $L_TITLE" "$class" "$k" "$a" "$L_TAIL" "$i" "Test this media & start $L_TITLE" "$class" "$k" "$a rd.live.check" "$L_TAIL" "$i"
  printf "submenu ${q}Troubleshooting -->${q} {\n\tmenuentry ${q}%s${q} %s {\n\t\tlinux %s %s %s %s\n\t\tinitrd %s\n\t}\n" \
    "Start $L_TITLE in basic graphics mode" "$class" "$k" "$a" "$basic" "$L_TAIL" "$i"
  if [[ $fw = bios ]]; then
    printf "\tmenuentry '%s' %s {\n\t\tchainloader (%s)+1\n\t}\n" 'Boot first drive' "$class" hd0 'Boot second drive' "$class" hd1
  fi
  printf '}\n'
}

layout_isolinux_cfg() { # the shape of Fedora's, in lorax' template
  local t=$L_TITLE a="initrd=initrd.img $L_ARGS" d0='' d1='' menu=vesamenu.c32
  if ((L_DEFAULT)); then d1=$'\n  menu default'; else d0=$'\n  menu default'; fi
  if [[ $L_SERIAL ]]; then menu=menu.c32; echo 'serial 0 115200'; fi     # vesamenu does not speak on a serial line
  cat <<C
default $menu
timeout $((L_TIMEOUT * 10))

display boot.msg

# Clear the screen when exiting the menu, instead of leaving the menu displayed.
# For vesamenu, this means the graphical background is still displayed without
# the menu itself for as long as the screen remains in graphics mode.
menu clear
menu background splash.png
menu title $t
menu vshift 8
menu rows 18
menu margin 8
#menu hidden
menu helpmsgrow 15
menu tabmsgrow 13

# Border Area
menu color border * #00000000 #00000000 none

# Selected item
menu color sel 0 #ffffffff #00000000 none

# Title bar
menu color title 0 #ff7ba3d0 #00000000 none

menu tabmsg Press Tab for full configuration options on menu items.

menu separator # insert an empty line
menu separator # insert an empty line

label linux
  menu label ^Start $t$d0
  kernel vmlinuz
  append $a $L_TAIL

label check
  menu label Test this ^media & start $t$d1
  kernel vmlinuz
  append $a rd.live.check $L_TAIL

menu separator # insert an empty line

# utilities submenu
menu begin ^Troubleshooting
  menu title Troubleshooting $t

label basic
  menu indent count 5
  menu label Start using ^basic graphics mode
  text help
	Try this option out if you're having trouble starting
	$t.
  endtext
  kernel vmlinuz
  append $a nomodeset $L_TAIL

label memtest
  menu label Run a ^memory test
  text help
	If your system is having issues, a problem with your
	system's memory may be the cause. Use this utility to
	see if the memory is working correctly.
  endtext
  kernel memtest

menu separator # insert an empty line

label local
  menu label Boot from ^local drive
  localboot 0xffff

menu separator # insert an empty line
menu separator # insert an empty line

label returntomain
  menu label Return to ^main menu
  menu exit

menu end
C
}

# ---- boot loaders

# layout_efi DIR CFG [FULL]: EFI/BOOT below DIR with the loader and CFG as its grub.cfg
layout_efi() {
  local d=$1/EFI/BOOT cfg=$2
  mkdir -p "$d"
  if [[ $L_SIGNED ]]; then
    cp "$(layout_find "$L_SIGNED" shimx64.efi.signed)" "$d/BOOTX64.EFI"
    cp "$(layout_find "$L_SIGNED" mmx64.efi.signed)" "$d/mmx64.efi"
    cp "$(layout_find "$L_SIGNED" grubx64.efi.signed)" "$d/grubx64.efi"
    # Debian's signed GRUB looks in /EFI/debian of the partition it was started from, and $root is that partition.
    mkdir -p "$1/EFI/debian"; echo 'configfile /EFI/BOOT/grub.cfg' >"$1/EFI/debian/grub.cfg"
  else
    grub-mkimage -O x86_64-efi -p /EFI/BOOT -o "$d/BOOTX64.EFI" all_video boot cat chain configfile echo efifwsetup ext2 fat font gfxterm gzio \
      halt help iso9660 linux ls minicmd normal part_gpt part_msdos part_apple reboot search search_fs_uuid search_fs_file search_label serial sleep test true
  fi
  cp "$cfg" "$d/grub.cfg"
}
layout_find() { find "$1" -name "$2" | head -1 | grep .; }

# layout_esp OUT TREE LABEL MIB: a FAT filesystem that holds TREE/EFI
layout_esp() {
  rm -f "$1"; truncate -s "$4M" "$1"
  mkfs.vfat --invariant -i 1ab0e5b0 -n "$3" "$1" >/dev/null
  mcopy -i "$1" -s "$2/EFI" ::/
}

# layout_bios TREE GRUBDIR ELTORITO: GRUB for BIOS: its modules, and the El Torito image that reads them
layout_bios() {
  local m=/usr/lib/grub/i386-pc
  mkdir -p "$1/$2/i386-pc" "$(dirname "$1/$3")"
  if [[ $L_MODULES = all ]]; then cp $m/*.mod $m/*.lst "$1/$2/i386-pc/"
  else cp $m/{normal,linux,search,search_label,search_fs_file,gzio,part_gpt}.mod $m/{command,fs,moddep}.lst "$1/$2/i386-pc/"; fi
  grub-mkimage -O i386-pc-eltorito -p "/$2" -o "$1/$3" iso9660 biosdisk
}

layout_isolinux() { # layout_isolinux TREE
  local m=/usr/lib/syslinux/modules/bios
  mkdir -p "$1/isolinux"
  cp /usr/lib/ISOLINUX/isolinux.bin $m/{ldlinux,libcom32,libutil,menu,vesamenu}.c32 "$1/isolinux/"
  echo 'Press ENTER to continue' >"$1/isolinux/boot.msg"
}

# ---- the ISO

layout_iso() (          # a subshell: the option changes and the clean-up stay inside
  set -euo pipefail
  PATH=$PATH:/usr/sbin:/sbin
  W=$(mktemp -d "${L_TMP:-$(dirname "$L_OUT")}/layout.XXXXXX"); trap 'rm -rf "$W"' EXIT
  T=$W/tree; mkdir "$T"
  put() { mkdir -p "$(dirname "$T/$2")"; ln "$1" "$T/$2" 2>/dev/null || cp "$1" "$T/$2"; }
  cfg() { cat >"$W/$1"; layout_fit "$W/$1" "$2"; }      # cfg NAME KIND <text
  : "${L_LABEL:?}"
  local place=LiveOS/squashfs.img
  [[ $L_LAYOUT = debian-live ]] && place=live/filesystem.squashfs
  put "$L_ROOT" "${L_PLACE:-$place}"
  if [[ ! $L_ARGS ]]; then
    L_ARGS="root=live:CDLABEL=$L_LABEL rd.live.image"
    [[ $L_LAYOUT = debian-live ]] && L_ARGS='boot=live components'
  fi
  rm -f "$L_OUT"
  local X=(xorrisofs -quiet -o "$L_OUT" -V "$L_LABEL" -R -J -graft-points)
  local EL=(-no-emul-boot -boot-load-size 4 -boot-info-table)
  made() {
    # Where all dates are to be one, the directories and files made here have it, too.
    [[ ! ${SOURCE_DATE_EPOCH:-} ]] || find "$T" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    "$@" >"$W/log" 2>&1 || { cat "$W/log" >&2; exit 1; }               # xorriso says its name even when told to be quiet
  }
  case $L_LAYOUT in

  isolinux|isolinux-mac|plain)
    put "$L_KERNEL" images/pxeboot/vmlinuz; put "$L_INITRD" images/pxeboot/initrd.img
    mkdir -p "$T/isolinux"; ln "$T/images/pxeboot/vmlinuz" "$T/images/pxeboot/initrd.img" "$T/isolinux/"     # one extent each, two names
    layout_isolinux "$T"
    layout_isolinux_cfg | cfg isolinux.cfg isolinux; cp "$W/isolinux.cfg" "$T/isolinux/"
    layout_grub_cfg efi /images/pxeboot/vmlinuz /images/pxeboot/initrd.img "--no-floppy --set=root -l '$L_LABEL'" | cfg grub.cfg grub
    layout_efi "$T" "$W/grub.cfg"; cp "$W/grub.cfg" "$T/EFI/BOOT/BOOT.conf"
    layout_esp "$T/images/efiboot.img" "$T" ANACONDA "${L_ESP_MIB:-9}"
    X+=(-b isolinux/isolinux.bin -c isolinux/boot.cat "${EL[@]}")
    case $L_LAYOUT in
      plain)    made "${X[@]}" -eltorito-alt-boot -e images/efiboot.img -no-emul-boot "$T" ;;
      isolinux) made "${X[@]}" -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin -eltorito-alt-boot -e images/efiboot.img -no-emul-boot -isohybrid-gpt-basdat "$T" ;;
      isolinux-mac)
        # There is no mkfs.hfsplus here; the table entries are what matters, and they do not depend on the content.
        truncate -s 4M "$T/images/macboot.img"; printf 'H+' | dd of="$T/images/macboot.img" bs=1 seek=1024 conv=notrunc status=none
        made "${X[@]}" -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin -eltorito-alt-boot -e images/efiboot.img -no-emul-boot -isohybrid-gpt-basdat \
          -eltorito-alt-boot -e images/macboot.img -no-emul-boot -isohybrid-gpt-hfsplus -isohybrid-apm-hfsplus "$T" ;;
    esac ;;

  grub2)
    put "$L_KERNEL" images/pxeboot/vmlinuz; put "$L_INITRD" images/pxeboot/initrd.img
    layout_bios "$T" boot/grub2 images/eltorito.img
    layout_grub_cfg bios /images/pxeboot/vmlinuz /images/pxeboot/initrd.img "--no-floppy --set=root -l '$L_LABEL'" | cfg bios.cfg grub
    cp "$W/bios.cfg" "$T/boot/grub2/grub.cfg"
    layout_grub_cfg efi /images/pxeboot/vmlinuz /images/pxeboot/initrd.img "--no-floppy --set=root -l '$L_LABEL'" | cfg grub.cfg grub
    layout_efi "$T" "$W/grub.cfg"; cp "$W/grub.cfg" "$T/EFI/BOOT/BOOT.conf"
    layout_esp "$W/efiboot.img" "$T" ANACONDA "${L_ESP_MIB:-9}"
    made "${X[@]}" --grub2-mbr /usr/lib/grub/i386-pc/boot_hybrid.img -partition_offset 16 -appended_part_as_gpt \
      -append_partition 2 C12A7328-F81F-11D2-BA4B-00A0C93EC93B "$W/efiboot.img" -iso_mbr_part_type EBD0A0A2-B9E5-4433-87C0-68B6B72699C7 \
      -c boot.cat --boot-catalog-hide -b images/eltorito.img "${EL[@]}" --grub2-boot-info \
      -eltorito-alt-boot -e '--interval:appended_partition_2:all::' -no-emul-boot "$T" ;;

  kiwi)
    local id; id=0x$(printf %s "$L_LABEL" | md5sum | cut -c1-8)
    put "$L_KERNEL" boot/x86_64/loader/linux; put "$L_INITRD" boot/x86_64/loader/initrd
    layout_bios "$T" boot/grub2 boot/x86_64/loader/eltorito.img
    cp /usr/lib/grub/i386-pc/boot_hybrid.img "$T/boot/x86_64/loader/"
    printf '%s\n' "$id" | tee "$T/boot/mbrid" >"$T/boot/$id"
    layout_grub_cfg both '($root)/boot/x86_64/loader/linux' '($root)/boot/x86_64/loader/initrd' "--file --set=root /boot/$id" | cfg main.cfg grub
    cp "$W/main.cfg" "$T/boot/grub2/grub.cfg"
    printf '%s\n' "search --file --set=root /boot/$id" 'set prefix=($root)/boot/grub2' | tee "$T/boot/grub2/earlyboot.cfg" >"$W/stub.cfg"
    printf '%s\n' 'configfile ($root)/boot/grub2/grub.cfg' >>"$W/stub.cfg"
    printf '%s\n' 'source /boot/grub2/grub.cfg' >"$T/boot/grub2/loopback.cfg"
    layout_efi "$T" "$W/stub.cfg"
    layout_esp "$W/esp.img" "$T" BOOT "${L_ESP_MIB:-30}"
    made xorriso -report_about SORRY -application_id "$id" -publisher 'Lab Project' -preparer_id KIWI -volid "$L_LABEL" -joliet on -padding 0 \
      -outdev "$L_OUT" -map "$T" / -chmod 0755 / -- \
      -boot_image grub bin_path=boot/x86_64/loader/eltorito.img -boot_image grub grub2_mbr="$T/boot/x86_64/loader/boot_hybrid.img" \
      -boot_image grub grub2_boot_info=on -boot_image any partition_offset=16 -boot_image any cat_path=boot/x86_64/boot.catalog \
      -boot_image any cat_hidden=on -boot_image any boot_info_table=on -boot_image any platform_id=0x00 -boot_image any emul_type=no_emulation \
      -boot_image any load_size=2048 -append_partition 2 0xef "$W/esp.img" -boot_image any appended_part_as=gpt -boot_image any next \
      -boot_image any efi_path=--interval:appended_partition_2:all:: -boot_image any platform_id=0xef -boot_image any emul_type=no_emulation ;;

  apm)
    put "$L_KERNEL" boot/vmlinuz; put "$L_INITRD" boot/initrd.img
    layout_bios "$T" boot/grub boot/grub/i386-pc/eltorito.img
    layout_grub_cfg bios /boot/vmlinuz /boot/initrd.img "--no-floppy --set=root -l '$L_LABEL'" | cfg bios.cfg grub
    cp "$W/bios.cfg" "$T/boot/grub/grub.cfg"
    printf '%s\n' "search --no-floppy --set=root -l '$L_LABEL'" 'set prefix=($root)/boot/grub' 'configfile ($root)/boot/grub/grub.cfg' >"$W/stub.cfg"
    layout_efi "$T" "$W/stub.cfg"
    layout_esp "$T/efi.img" "$T" ESP "${L_ESP_MIB:-9}"
    made "${X[@]}" -b boot/grub/i386-pc/eltorito.img "${EL[@]}" --grub2-boot-info --grub2-mbr /usr/lib/grub/i386-pc/boot_hybrid.img \
      -hfsplus -apm-block-size 2048 --protective-msdos-label --efi-boot efi.img -efi-boot-part --efi-boot-image "$T" ;;

  debian-live)
    put "$L_KERNEL" live/vmlinuz; put "$L_INITRD" live/initrd.img
    layout_isolinux "$T"
    printf '%s\n' 'include menu.cfg' 'default vesamenu.c32' 'prompt 0' "timeout $((L_TIMEOUT * 10))" >"$T/isolinux/isolinux.cfg"
    printf '%s\n' 'menu hshift 0' 'menu width 82' '' 'menu title Boot menu' 'include stdmenu.cfg' 'include live.cfg' >"$T/isolinux/menu.cfg"
    printf '%s\n' 'menu background splash.png' 'menu vshift 12' 'menu rows 10' >"$T/isolinux/stdmenu.cfg"
    printf 'label %s\n\tmenu label %s\n%s\tlinux /live/vmlinuz\n\tinitrd /live/initrd.img\n\tappend %s\n\n' \
      live-amd64 '^Live system (amd64)' $'\tmenu default\n' "$L_ARGS $L_TAIL findiso=" \
      live-amd64-failsafe 'Live system (amd64 fail-safe mode)' '' "$L_ARGS memtest noapic noapm nodma nomce nosmp nosplash vga=788" | cfg live.cfg isolinux
    cp "$W/live.cfg" "$T/isolinux/"
    mkdir -p "$T/boot/grub" "$T/.disk"; echo "$L_TITLE" >"$T/.disk/info"
    { printf '%s\n' 'source /boot/grub/config.cfg' ''
      printf 'menuentry "%s" --hotkey=%s {\n\tlinux\t/live/vmlinuz %s findiso=${iso_path}\n\tinitrd\t/live/initrd.img\n}\n' \
        'Live system (amd64)' l "$L_ARGS $L_TAIL" 'Live system (amd64 fail-safe mode)' f "$L_ARGS memtest noapic noapm nodma nomce nosmp nosplash vga=788"; } | cfg grub.cfg grub
    cp "$W/grub.cfg" "$T/boot/grub/"
    { echo 'set default=0'; [[ ! $L_SERIAL ]] || printf '%s\n' 'serial --unit=0 --speed=115200' 'terminal_input serial console' 'terminal_output serial console'; } >"$T/boot/grub/config.cfg"
    printf '%s\n' 'search --set=root --file /.disk/info' 'set prefix=($root)/boot/grub' 'source $prefix/grub.cfg' >"$W/stub.cfg"
    mkdir "$W/efi"; layout_efi "$W/efi" "$W/stub.cfg"; cp -r "$W/efi/EFI" "$T/"
    layout_esp "$T/boot/grub/efi.img" "$W/efi" DEB_ESP "${L_ESP_MIB:-5}"
    made xorrisofs -quiet -R -r -J -joliet-long -l -cache-inodes -iso-level 3 -isohybrid-mbr /usr/lib/ISOLINUX/isohdpfx.bin -partition_offset 16 \
      -A 'Debian Live' -p 'live-build; https://salsa.debian.org/live-team/live-build' -publisher 'Debian Live project; https://wiki.debian.org/DebianLive' \
      -V "$L_LABEL" -b isolinux/isolinux.bin -c isolinux/boot.cat "${EL[@]}" -eltorito-alt-boot -e boot/grub/efi.img -no-emul-boot \
      -isohybrid-gpt-basdat -isohybrid-apm-hfsplus -o "$L_OUT" "$T" ;;

  *) echo "layout.sh: unknown layout $L_LAYOUT (known: $LAYOUTS)" >&2; exit 2 ;;
  esac
  if [[ $L_MD5 = 1 ]]; then implantisomd5 "$L_OUT" >/dev/null; fi
)
