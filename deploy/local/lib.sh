# Sourced by the scripts of this folder: where things are, and starting and ending a daemon by the pid that was written.
#
#   WEIR_HOME_DIR  run directory: pids, logs, ports, data (default /tmp/weir-$USER)
#   WEIR_BIN_DIR   folder of the binaries (default: build/ of the source tree, bin/ of a distribution)
#   WEIR_OPTS      options for every daemon, such as "-D rest.port=8082 -D log.level=debug"; what a script sets itself wins

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${WEIR_BIN_DIR:-$root/build}
[ -x "$bin/weir-jobmanager" ] || bin=$root/bin
run=${WEIR_HOME_DIR:-/tmp/weir-${USER:-$(id -un)}}
start_deadline_s=20
stop_deadline_s=30

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# alive NAME: whether the daemon that NAME.pid names still runs, and is ours (a pid may have been given to another process).
alive() {
    local pid exe
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 1
    exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
    case ${exe% (deleted)} in
    */weir-jobmanager | */weir-taskmanager) return 0 ;;
    *) return 1 ;;
    esac
}

# until_true SECONDS COMMAND...: polls; false when the time is over.
until_true() {
    local deadline=$(($(date +%s%N) + $1 * 1000000000))
    shift
    until "$@"; do
        [ "$(date +%s%N)" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# While it starts, the process is still a shell for a moment, so only a process without a program counts as dead.
is_ready_or_dead() {
    grep -q ' ready ' "$run/$1.out" 2>/dev/null || ! readlink "/proc/$(cat "$run/$1.pid")/exe" >/dev/null 2>&1
}

# start NAME BINARY OPTION...: starts a daemon and waits for its ready line.
start() {
    local name=$1 binary=$2
    shift 2
    [ -x "$bin/$binary" ] || die "$bin/$binary does not exist: run \`make\` first"
    ! alive "$name" || die "$name runs already (pid $(cat "$run/$name.pid"))"
    mkdir -p "$run"
    : >"$run/$name.out"
    # shellcheck disable=SC2086 # WEIR_OPTS is a list of options
    setsid "$bin/$binary" ${WEIR_OPTS:-} "$@" >"$run/$name.out" 2>>"$run/$name.log" </dev/null &
    echo $! >"$run/$name.pid"
    until_true "$start_deadline_s" is_ready_or_dead "$name" || true
    if ! alive "$name" || ! grep -q ' ready ' "$run/$name.out"; then
        tail -n 5 "$run/$name.log" >&2
        die "$name did not start; its log is $run/$name.log"
    fi
}

is_dead() {
    ! alive "$1"
}

# stop NAME SIGNAL: ends a daemon and waits for it; killed when it does not leave in time.
stop() {
    local name=$1 signal=$2
    if alive "$name"; then
        kill "-$signal" "$(cat "$run/$name.pid")" 2>/dev/null || true
        if ! until_true "$stop_deadline_s" is_dead "$name"; then
            echo "$name does not leave; killed" >&2
            kill -KILL "$(cat "$run/$name.pid")" 2>/dev/null || true
            until_true 5 is_dead "$name" || die "$name cannot be killed"
        fi
    fi
    rm -f "$run/$name.pid"
}

# endpoint KEY: from the JobManager's ready line, without a scheme: "127.0.0.1:8081".
endpoint() {
    [ -e "$run/jobmanager.out" ] || return 0
    sed -n "s/.* $1=\([^ ]*\).*/\1/p" "$run/jobmanager.out" | sed "s,^[a-z]*://,,"
}

taskmanager_start() {
    local number=$1 rpc
    rpc=$(endpoint rpc)
    [ -n "$rpc" ] && alive jobmanager || die "no JobManager runs in $run: deploy/local/start-cluster.sh starts one"
    mkdir -p "$run/taskmanager-$number.tmp"
    start "taskmanager-$number" weir-taskmanager -D "jobmanager.rpc.address=${rpc%:*}" -D "taskmanager.tmp.dir=$run/taskmanager-$number.tmp" \
        -D "taskmanager.numberOfTaskSlots=$(cat "$run/slots" 2>/dev/null || echo 1)" \
        -D "jobmanager.rpc.port=${rpc##*:}"
}

# registered: TaskManagers that the JobManager knows.
registered() {
    "$bin/weir" cluster --json -m "$(endpoint rest)" 2>/dev/null | jq '.taskmanagers | length' 2>/dev/null || echo 0
}

has_registered() {
    [ "$(registered)" -ge "$1" ]
}
