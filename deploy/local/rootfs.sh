# shellcheck shell=bash
# A minimal Debian file system, the stand-in for Debian's slim image.

# debian_mirror: where this machine's apt gets Debian from.
debian_mirror() {
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(CODENAME)' |
		awk '$2 == "main" && $3 !~ /-/ { print $1; exit }'
}

# new_rootfs SUITE ARCHIVE
new_rootfs() {
	local suite=$1 archive=$2 root=$CACHE/rootfs-$1 mirror
	mirror=$(debian_mirror)
	[[ -n $mirror ]] || fail "apt knows no Debian mirror; run apt-get update"
	rm -rf "$root"
	mkdir -p "$CACHE/debootstrap"
	debootstrap --variant minbase --cache-dir "$CACHE/debootstrap" "$suite" "$root" "$mirror"
	# Whatever this machine's apt says about stale indexes holds in the image as well.
	apt-config dump | grep -E '^Acquire::Check-(Valid-Until|Date) ' >"$root/etc/apt/apt.conf.d/90machine" || true
	printf 'path-exclude /usr/share/%s/*\n' doc man info locale >"$root/etc/dpkg/dpkg.cfg.d/slim"
	rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*.log \
		"$root"/usr/share/{doc,man,info,locale}/*
	# Java's packages demand that it is there.
	mkdir -p "$root/usr/share/man/man1"
	tar --create --numeric-owner --sort name --one-file-system --directory "$root" --file "$archive" .
	rm -rf "$root"
}
