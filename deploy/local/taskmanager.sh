#!/usr/bin/env bash
# Starts, stops (SIGTERM: it drains) or kills (SIGKILL) one TaskManager of the local cluster.
#
#   taskmanager.sh start|stop|kill [N]      N defaults to the first free number for start, to the greatest running one otherwise
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    echo "usage: taskmanager.sh start|stop|kill [N]" >&2
    exit 2
}

first_free() {
    local n=1
    while alive "taskmanager-$n"; do
        n=$((n + 1))
    done
    echo "$n"
}

greatest_running() {
    local file name best=
    for file in "$run"/taskmanager-*.pid; do
        name=$(basename "$file" .pid)
        if alive "$name" && [ "${name#taskmanager-}" -gt "${best:-0}" ]; then
            best=${name#taskmanager-}
        fi
    done
    [ -n "$best" ] || die "no TaskManager runs in $run"
    echo "$best"
}

[[ $# -ge 1 && $# -le 2 && ${2:-1} =~ ^[1-9][0-9]*$ ]] || usage
case $1 in
start)
    number=${2:-$(first_free)}
    learn_removed
    taskmanager_start "$number"
    echo "taskmanager-$number started"
    ;;
stop | kill)
    number=${2:-$(greatest_running)}
    alive "taskmanager-$number" || die "taskmanager-$number does not run in $run"
    stop "taskmanager-$number" "$([ "$1" = stop ] && echo TERM || echo KILL)"
    echo "taskmanager-$number ${1/stop/stopp}ed"
    ;;
*) usage ;;
esac
