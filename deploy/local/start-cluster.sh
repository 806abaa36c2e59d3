#!/usr/bin/env bash
# Starts JobManagers and TaskManagers on this machine and waits until all are registered.
#
#   start-cluster.sh [-j 1|3|5] [-t TASKMANAGERS] [-s SLOTS]      by default one JobManager and one TaskManager of two slots
#
# Several JobManagers listen at jobmanager.rpc.port and rest.port, counted on; one of them leads. lib.sh names the environment.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    echo "usage: start-cluster.sh [-j 1|3|5] [-t TASKMANAGERS] [-s SLOTS]" >&2
    exit 2
}

jobmanagers=1
taskmanagers=1
slots=2
while getopts "j:t:s:h" option; do
    case $option in
    j) jobmanagers=$OPTARG ;;
    t) taskmanagers=$OPTARG ;;
    s) slots=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[[ $# -eq 0 && $jobmanagers =~ ^[135]$ && $taskmanagers =~ ^[0-9]+$ && $slots =~ ^[1-9][0-9]*$ ]] || usage

another="stop-cluster.sh and remove it, or set WEIR_HOME_DIR"
if [ -e "$several" ]; then
    known=$(awk '$2 != "joins"' "$several" | wc -l)
    [ "$known" -eq "$jobmanagers" ] || die "$run belongs to a cluster of $known JobManagers: start that, or $another"
elif [ "$jobmanagers" -gt 1 ]; then
    [ ! -e "$run/jobmanager.data" ] || die "$run belongs to a cluster of one JobManager: start that, or $another"
    for ((i = 1; i <= jobmanagers; i++)); do
        add_jobmanager
    done
fi

mkdir -p "$run"
echo "$slots" >"$run/slots"
names=$(jobmanager_names)
for name in $names; do # all at once: those of a new cluster ask each other whether it is one
    jobmanager_launch "$name"
done
for name in $names; do
    await "$name" || true
done
for ((i = 1; i <= taskmanagers; i++)); do
    taskmanager_start "$i"
done
until_true "$start_deadline_s" has_registered "$taskmanagers" ||
    die "only $(registered) of $taskmanagers TaskManagers registered; logs are in $run"
learn_removed # of replacements that no script has seen
for name in $names; do
    if was_removed "$name"; then
        stop "$name" TERM
        echo "$name was removed from the cluster: it does not run"
    fi
done
rest=$(rest_addresses)
leaders=
[ "$jobmanagers" -eq 1 ] || leaders="$(jobmanager_names | wc -l) JobManagers and "
echo "cluster of $leaders$taskmanagers TaskManagers with $slots slots each: http://${rest//,/ http://}  (logs in $run)"
[ "$rest" = 127.0.0.1:8081 ] || echo "export WEIR_JOBMANAGERS=$rest"
