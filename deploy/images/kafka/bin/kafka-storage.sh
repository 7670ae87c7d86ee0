#!/bin/bash
# kafka-storage.sh format|info|random-uuid ARGUMENT...
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/kafka-run-class.sh" kafka.tools.StorageTool "$@"
