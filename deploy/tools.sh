#!/usr/bin/env bash
# Installs the tools of the checks into .local/bin, pinned: cargo-deny, helm; the packages of shellcheck, OpenSSL and pkg-config.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .local/log

readonly CARGO_DENY=0.20.2

if ! .local/bin/cargo-deny --version 2>/dev/null | grep -qF " $CARGO_DENY"; then
  echo "==> install cargo-deny $CARGO_DENY"
  # Compiling it optimised, or for a debugger, takes longer than it will ever run.
  CARGO_TARGET_DIR=$PWD/.local/cache/cargo-tools CARGO_PROFILE_DEV_DEBUG=false env --unset=RUSTC_WORKSPACE_WRAPPER \
    cargo install --debug --quiet --locked --root .local "cargo-deny@$CARGO_DENY"
fi
deploy/local/build.sh helm
# librdkafka is compiled with them.
if [[ ! -e /usr/include/openssl/ssl.h ]] || ! command -v pkg-config >/dev/null; then
  echo "==> install libssl-dev and pkg-config"
  apt-get update -q >.local/log/apt-libssl.log 2>&1
  apt-get install --yes --quiet libssl-dev pkg-config >>.local/log/apt-libssl.log 2>&1
fi
if ! command -v shellcheck >/dev/null; then
  echo "==> install shellcheck"
  apt-get install --yes --quiet shellcheck >.local/log/apt-shellcheck.log 2>&1
fi
