#!/usr/bin/env bash
# Starts a JobManager and TaskManagers on this machine and waits until all are registered.
#
#   start-cluster.sh [-t TASKMANAGERS] [-s SLOTS]      one TaskManager of two slots by default; lib.sh names the environment
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    echo "usage: start-cluster.sh [-t TASKMANAGERS] [-s SLOTS]" >&2
    exit 2
}

taskmanagers=1
slots=2
while getopts "t:s:h" option; do
    case $option in
    t) taskmanagers=$OPTARG ;;
    s) slots=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[[ $# -eq 0 && $taskmanagers =~ ^[0-9]+$ && $slots =~ ^[1-9][0-9]*$ ]] || usage

mkdir -p "$run/jobmanager.data"
echo "$slots" >"$run/slots"
start jobmanager weir-jobmanager -D "jobmanager.data.dir=$run/jobmanager.data"
for ((i = 1; i <= taskmanagers; i++)); do
    taskmanager_start "$i"
done
until_true "$start_deadline_s" has_registered "$taskmanagers" ||
    die "only $(registered) of $taskmanagers TaskManagers registered; logs are in $run"
echo "cluster of $taskmanagers TaskManagers with $slots slots each: http://$(endpoint rest)  (logs in $run)"
[ "$(endpoint rest)" = 127.0.0.1:8081 ] || echo "export WEIR_JOBMANAGERS=$(endpoint rest)"
