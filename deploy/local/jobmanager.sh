#!/usr/bin/env bash
# Starts, stops (SIGTERM: it hands leadership over) or kills (SIGKILL) one JobManager of the local cluster.
#
#   jobmanager.sh start|stop|kill [N]       N defaults to the first member that does not run for start, to the greatest running one otherwise
#   jobmanager.sh start [N] --join          an empty one that belongs to no cluster yet, in the place of the lost one N or as a further one;
#                                           `weir cluster replace-jobmanager` lets it in
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    echo "usage: jobmanager.sh start [N] [--join] | stop|kill [N]" >&2
    exit 2
}

# name_of N: the single one may be called 1.
name_of() {
    if [ -e "$several" ]; then
        echo "jobmanager-$1"
    elif [ "$1" -eq 1 ]; then
        echo jobmanager
    else
        die "$run belongs to a cluster of one JobManager"
    fi
}

first_not_running() {
    local name
    for name in $(jobmanager_names); do
        alive "$name" || {
            echo "$name"
            return
        }
    done
    die "every JobManager of $run runs already"
}

greatest_running() {
    local name best=
    for name in $(jobmanager_names); do
        ! alive "$name" || best=$name
    done
    [ -n "$best" ] || die "no JobManager runs in $run"
    echo "$best"
}

# With an empty directory, and a new address unless it is to take N's; what N's directory held is kept beside.
start_to_join() {
    local name old
    [ -e "$several" ] || die "$run does not belong to a cluster of several JobManagers"
    if [ -z "$1" ]; then
        add_jobmanager joins
        name=jobmanager-$(wc -l <"$several")
    else
        name=$(name_of "$1")
        ! alive "$name" || die "$name runs already (pid $(cat "$run/$name.pid"))"
        mark "$1"
    fi
    old=$run/$name.data
    [ ! -e "$old" ] || mv "$old" "$old.$(date +%Y%m%d-%H%M%S.%N)"
    jobmanager_start "$name" -D jobmanager.join=true
    echo "$name started at $(endpoint rpc "$name"); \`weir cluster replace-jobmanager OLD $(endpoint rpc "$name")\` lets it in"
}

verb=${1:-}
number=
join=
for word in "${@:2}"; do
    case $word in
    --join) join=yes ;;
    *)
        [[ -z $number && $word =~ ^[1-9][0-9]*$ ]] || usage
        number=$word
        ;;
    esac
done
case $verb in
start)
    if [ -n "$join" ]; then
        start_to_join "$number"
    else
        learn_removed
        name=$([ -n "$number" ] && name_of "$number" || first_not_running)
        [ -d "$run/$name.data" ] || die "$run has no $name: deploy/local/start-cluster.sh starts a cluster"
        ! was_removed "$name" || die_removed "$name"
        ports=() # the single one's may be of the kernel: TaskManagers and clients know it by those that it had
        if [ "$name" = jobmanager ] && ! alive "$name" && [ -n "$(endpoint rpc)" ]; then
            rpc=$(endpoint rpc)
            rest=$(endpoint rest)
            ports=(-D "jobmanager.rpc.port=${rpc##*:}" -D "rest.port=${rest##*:}")
        fi
        jobmanager_start "$name" "${ports[@]}"
        echo "$name started"
    fi
    ;;
stop | kill)
    [ -z "$join" ] || usage
    name=$([ -n "$number" ] && name_of "$number" || greatest_running)
    alive "$name" || die "$name does not run in $run"
    stop "$name" "$([ "$verb" = stop ] && echo TERM || echo KILL)"
    echo "$name ${verb/stop/stopp}ed"
    ;;
*) usage ;;
esac
