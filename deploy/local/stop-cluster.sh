#!/usr/bin/env bash
# Ends the cluster that start-cluster.sh started: the daemons whose pids stand in the run directory, and no others.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 0 ] || {
    echo "usage: stop-cluster.sh" >&2
    exit 2
}
learn_removed # while there is somebody to ask: the next start needs it
for file in "$run"/taskmanager-*.pid "$run"/jobmanager.pid "$run"/jobmanager-*.pid; do
    [ -e "$file" ] || continue
    name=$(basename "$file" .pid)
    stop "$name" TERM
    echo "$name stopped"
done
