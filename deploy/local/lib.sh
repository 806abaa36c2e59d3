# Sourced by the scripts of this folder: where things are, and starting and ending a daemon by the pid that was written.
#
#   WEIR_HOME_DIR  run directory: pids, logs, ports, data (default /tmp/weir-$USER)
#   WEIR_BIN_DIR   folder of the binaries (default: build/ of the source tree, bin/ of a distribution)
#   WEIR_LOG_MB    a daemon that starts puts its log aside when it is larger than so many MB (default 64)
#   WEIR_LOG_FILES logs put aside that are kept, NAME.log.1 the newest (default 10; 0: none)
#   WEIR_OPTS      options for every daemon, such as "-D rest.port=8082 -D log.level=debug"; what a script sets itself wins

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${WEIR_BIN_DIR:-$root/build}
[ -x "$bin/weir-jobmanager" ] || bin=$root/bin
run=${WEIR_HOME_DIR:-/tmp/weir-${USER:-$(id -un)}}
log_mb=${WEIR_LOG_MB:-64}
log_files=${WEIR_LOG_FILES:-10}
start_deadline_s=20
stop_deadline_s=30

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

[[ $log_mb =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "WEIR_LOG_MB=$log_mb: expected MB"
[[ $log_files =~ ^(0|[1-9][0-9]{0,2})$ ]] || die "WEIR_LOG_FILES=$log_files: expected 0 to 999"

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

# rotate_log NAME: before its daemon starts: nobody writes to it.
rotate_log() {
    local log=$run/$1.log old i size
    size=$(stat -c %s "$log" 2>/dev/null) || return 0
    [ "$size" -gt $((log_mb * 1000000)) ] || return 0
    for old in "$log".*; do
        i=${old##*.}
        [[ ! $i =~ ^[1-9][0-9]*$ ]] || [ "$i" -lt "$log_files" ] || rm -f "$old"
    done
    for ((i = log_files - 1; i > 0; i--)); do
        [ ! -e "$log.$i" ] || mv "$log.$i" "$log.$((i + 1))"
    done
    if [ "$log_files" -gt 0 ]; then
        mv "$log" "$log.1"
    else
        rm -f "$log"
    fi
}

# launch NAME BINARY OPTION...: starts a daemon; await NAME waits for its ready line.
launch() {
    local name=$1 binary=$2
    shift 2
    [ -x "$bin/$binary" ] || die "$bin/$binary does not exist: run \`make\` first"
    ! alive "$name" || die "$name runs already (pid $(cat "$run/$name.pid"))"
    mkdir -p "$run"
    : >"$run/$name.out"
    rotate_log "$name"
    # shellcheck disable=SC2086 # WEIR_OPTS is a list of options
    setsid "$bin/$binary" ${WEIR_OPTS:-} "$@" >"$run/$name.out" 2>>"$run/$name.log" </dev/null &
    echo $! >"$run/$name.pid"
}

# false: a JobManager that has left at once, because the others say that it was removed.
await() {
    local name=$1
    until_true "$start_deadline_s" is_ready_or_dead "$name" || true
    if ! alive "$name" && tail -n 1 "$run/$name.log" | grep -q ' was removed from the cluster'; then
        mark "${name#jobmanager-}" removed
        return 1
    fi
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

# endpoint KEY [NAME]: from a JobManager's ready line, without a scheme: "127.0.0.1:8081".
endpoint() {
    local out=$run/${2:-jobmanager}.out
    [ -e "$out" ] || return 0
    sed -n "s/.* $1=\([^ ]*\).*/\1/p" "$out" | sed "s,^[a-z]*://,,"
}

# A cluster of several JobManagers has their RPC addresses in this file, "127.0.0.1:6123", one a line: the first is jobmanager-1's, and so on.
# They are the JobManagers' names in the log, so they are kept for the life of the run directory. One that was added later has "joins" behind it,
# and one that is no member any more, because another has taken its place, "removed" at the end. A single JobManager is called jobmanager.
several=$run/jobmanagers

# jobmanager_names: without those that were removed.
jobmanager_names() {
    if [ -e "$several" ]; then
        awk '$NF != "removed" { print "jobmanager-" NR }' "$several"
    else
        echo jobmanager
    fi
}

# was_removed NAME
was_removed() {
    ! grep -qx "$1" <<<"$(jobmanager_names)"
}

# mark N [removed]: writes to the file that jobmanager-N is no member any more, or that it may be one again.
mark() {
    awk -v n="$1" -v word="${2:-}" 'NR == n { sub(/ *removed$/, ""); $0 = $0 (word == "" ? "" : " " word) } { print }' "$several" >"$several.new"
    mv "$several.new" "$several"
}

# learn_removed: marks each as the leader knows it. At one address several may have stood, one after the other. Nothing while nobody leads.
learn_removed() {
    local members
    [ -e "$several" ] && any_jobmanager_alive || return 0
    members=$(timeout 5 "$bin/weir" cluster --json -m "$(rest_addresses)" 2>/dev/null | jq -r '.jobmanagers[] | "\(.rpc) \(.role)"') || return 0
    awk 'NR == FNR { if ($2 == "removed") gone[$1]; else here[$1]; next }
         $1 in here { sub(/ *removed$/, "") }
         $1 in gone && !($1 in here) && $NF != "removed" { $0 = $0 " removed" }
         { print }' - "$several" <<<"$members" >"$several.new"
    mv "$several.new" "$several"
}

# jobmanager_addresses: as the cluster was founded, whoever was removed since.
jobmanager_addresses() {
    awk '$2 != "joins" { print $1 }' "$several" | paste -sd,
}

# present_addresses [OWN]: as many as founded the cluster, for who is to find it: those that were not removed before the others, without OWN. They
# name the rest.
present_addresses() {
    awk -v own="${1:-}" '$2 != "joins" { founders++ }
         { if ($NF == "removed" || $1 == own) last[++n] = $1; else first[++m] = $1 }
         END { for (i = 1; i <= m + n && printed < founders; i++) {
                   address = i <= m ? first[i] : last[i - m]
                   if (!seen[address]++) { print address; printed++ } } }' "$several" | paste -sd,
}

# rest_addresses: of all JobManagers that have ever been ready, and were not removed.
rest_addresses() {
    local name
    for name in $(jobmanager_names); do
        endpoint rest "$name"
    done | paste -sd,
}

any_jobmanager_alive() {
    local name
    for name in $(jobmanager_names); do
        ! alive "$name" || return 0
    done
    return 1
}

# option KEY DEFAULT: what WEIR_OPTS say of a setting.
option() {
    local value
    value=$(sed -n "s/.*-D *$1=\([^ ]*\).*/\1/p" <<<"${WEIR_OPTS:-}")
    echo "${value:-$2}"
}

# free_port: nobody listens there now, and the kernel gives it to nobody by itself.
free_port() {
    local port used
    used=$(awk 'NR > 1 { sub(/.*:/, "", $2); print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
    while :; do
        port=$((15000 + (RANDOM * 32768 + RANDOM) % 17000))
        grep -qixF "$(printf '%04X' "$port")" <<<"$used" || break
    done
    echo "$port"
}

# add_jobmanager [joins]: writes the next one's address to the file: ports from jobmanager.rpc.port on, or free ones when that is 0.
add_jobmanager() {
    local base number
    mkdir -p "$run"
    touch "$several"
    number=$(wc -l <"$several")
    base=$(option jobmanager.rpc.port 6123)
    if [ "$base" = 0 ]; then
        echo "127.0.0.1:$(free_port) ${1:-}" >>"$several"
    else
        echo "127.0.0.1:$((base + number)) ${1:-}" >>"$several"
    fi
}

# jobmanager_launch NAME OPTION...: its HTTP port is rest.port, counted on, or what it had before.
jobmanager_launch() {
    local name=$1 rpc kind rest others number=${1#jobmanager-}
    shift
    mkdir -p "$run/$name.data"
    if [ "$name" = jobmanager ]; then
        launch "$name" weir-jobmanager -D "jobmanager.data.dir=$run/$name.data" "$@"
        return
    fi
    read -r rpc kind _ < <(sed -n "${number}p" "$several") || die "there is no $name in $several"
    others=$(jobmanager_addresses)
    if [ "$kind" = joins ]; then
        others=$(present_addresses "$rpc")
        set -- -D jobmanager.join=true "$@"
    fi
    rest=$(option rest.port 8081)
    if [ "$rest" = 0 ]; then
        rest=$(endpoint rest "$name")
        rest=${rest##*:}
    else
        rest=$((rest + number - 1))
    fi
    launch "$name" weir-jobmanager -D "cluster.jobmanagers=$others" -D "jobmanager.rpc.address=${rpc%:*}" \
        -D "jobmanager.rpc.port=${rpc##*:}" -D "rest.port=${rest:-0}" -D "jobmanager.data.dir=$run/$name.data" "$@"
}

jobmanager_start() {
    jobmanager_launch "$@"
    await "$1" || die_removed "$1"
}

die_removed() {
    die "$1 was removed from the cluster: \`jobmanager.sh start ${1#jobmanager-} --join\` starts an empty one in its place"
}

taskmanager_start() {
    local number=$1 rpc options
    any_jobmanager_alive || die "no JobManager runs in $run: deploy/local/start-cluster.sh starts one"
    if [ -e "$several" ]; then
        options=(-D "cluster.jobmanagers=$(present_addresses)")
    else
        rpc=$(endpoint rpc)
        options=(-D "jobmanager.rpc.address=${rpc%:*}" -D "jobmanager.rpc.port=${rpc##*:}")
    fi
    mkdir -p "$run/taskmanager-$number.tmp"
    launch "taskmanager-$number" weir-taskmanager -D "taskmanager.tmp.dir=$run/taskmanager-$number.tmp" \
        -D "taskmanager.numberOfTaskSlots=$(cat "$run/slots" 2>/dev/null || echo 1)" "${options[@]}"
    await "taskmanager-$number"
}

# registered: TaskManagers that the leader knows.
registered() {
    "$bin/weir" cluster --json -m "$(rest_addresses)" 2>/dev/null | jq '.taskmanagers | length' 2>/dev/null || echo 0
}

has_registered() {
    [ "$(registered)" -ge "$1" ]
}
