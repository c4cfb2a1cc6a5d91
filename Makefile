# livestick: what there is to do. Every target installs what it needs (Debian packages) when something is missing.

PREFIX ?= /usr/local
CARGO  ?= cargo
BINARY := target/release/livestick
# The same for a rescue shell: one file that needs no other.
HOST   := $(shell rustc -vV | sed -n 's/^host: //p')
STATIC := target/$(HOST)/static/livestick
# For the demo: your own image and target, and sizes.
IMAGE  ?=
TARGET ?=
DEMO   := target/demo

.PHONY: all build static static-test packages packages-test demo demo-image test check unit boot-test boot-test-all bench deny install install-files packages-installed clean

# The program.
all build: packages-installed
	$(CARGO) build --release --locked

# One static file, without libblkid. The C library is in it, so a warning of the linker (a function that would load a
# shared one after all: names of users, hosts, character sets) is an error. --target keeps the flags from procedural
# macros, which are shared objects.
static: packages-installed
	RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,--fatal-warnings' \
	  $(CARGO) build --locked --profile static --no-default-features --target $(HOST)

# Whether that file is static and small, and what it does where there is nothing else.
static-test: static demo-image
	tests/lab/static-test $(STATIC) $(DEMO)/live.iso

# A small live image written to a stick image with overlay and /home, and verified. With IMAGE= and TARGET= your own.
demo: build
ifeq ($(IMAGE)$(TARGET),)
	$(MAKE) demo-image
	$(BINARY) write $(DEMO)/live.iso $(DEMO)/stick.img --size 2GiB --overlay-size-mb 512 --home-size-mb 512 --yes
else
	$(BINARY) write $(IMAGE) $(TARGET) $(if $(wildcard $(TARGET)),,--size 8GiB) --overlay-size-mb 1024 --home-size rest
endif

# The image of the demo alone, for the README's walk through the terminal interface.
demo-image: build
	mkdir -p $(DEMO)
	rm -f $(DEMO)/stick.img
	tests/lab/small-iso grub2 $(DEMO)/live.iso --size 64

# Everything that is tested: style, units, sticks judged by other programs, and real boots.
test: check unit static-test packages-test boot-test

# Style and lints.
check: packages-installed
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features -- -D warnings

# Licences, sources and doubled versions of what livestick depends on.
deny:
	command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check bans licenses sources

# Unit and integration tests.
unit: packages-installed
	$(CARGO) test --locked --no-fail-fast

# Real live systems from Debian packages, booted from sticks in QEMU: each layout, firmware and mechanism once. And sticks
# that are plugged into a rescue shell, written there and pulled out.
boot-test: build static
	tests/lab/rescue-test $(STATIC)
	tests/lab/boot-test --livestick $(BINARY)

# The full product of layouts, firmwares and mechanisms, with Debian sid too.
boot-test-all: build
	tests/lab/boot-test --all --livestick $(BINARY)

# Speed and memory, as ratios against limits and peers measured in the same run.
bench: build
	benches/write $(BINARY)
	benches/verify $(BINARY)
	benches/persistence $(BINARY)

# A minute of coverage-guided fuzzing for everything that reads untrusted bytes (installs cargo-fuzz; the sanitizer
# flags are unstable, which RUSTC_BOOTSTRAP allows on a stable toolchain).
fuzz: packages-installed
	command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	fuzz/seeds fuzz/corpus
	for target in iso9660 gpt_mbr initrd root grub isolinux fat published record luks; do RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -max_total_time=60 -max_len=1100000 -timeout=20 -rss_limit_mb=1024 || exit 1; done

# The program, its manual and its completions below $(DESTDIR)$(PREFIX); ZSH is where zsh looks for completions.
install: build install-files

ZSH ?= share/zsh/site-functions
install-files:
	install -Dm755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/livestick
	for page in man/*.[1-8]; do install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man$${page##*.} $$page || exit 1; done
	install -Dm644 completions/livestick.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/livestick
	install -Dm644 completions/_livestick $(DESTDIR)$(PREFIX)/$(ZSH)/_livestick
	install -Dm644 completions/livestick.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/livestick.fish
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/doc/livestick README.md CHANGELOG.md LICENSE
	ln -sf livestick $(DESTDIR)$(PREFIX)/bin/livecd-iso-to-disk
	ln -sf livestick $(DESTDIR)$(PREFIX)/share/bash-completion/completions/livecd-iso-to-disk
	ln -sf livestick.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/livecd-iso-to-disk.fish

# A .deb and an .rpm of that in target/packages.
packages: build
	packaging/build target/packages

# Those, installed and run in a clean system each.
packages-test: packages demo-image
	tests/lab/packages-test target/packages $(DEMO)/live.iso

# What the build and the tests need beyond a Rust toolchain.
packages-installed:
	tests/lab/packages --install

clean:
	rm -rf target
