#!/usr/bin/env bash
# A real Apache Kafka broker on this machine: one process, KRaft mode, loopback only. For trying Weir out and for its tests.
#
#   kafka.sh install                                   fetches the broker's jars with Maven (once)
#   kafka.sh start | stop | kill | status              kill: as if by a power cut (SIGKILL)
#   kafka.sh topic NAME PARTITIONS [KEY=VALUE ...]     creates a topic, with its settings
#   kafka.sh tool CLASS ARGUMENT ...                   runs one of Kafka's own command line tools
#
# Environment: KAFKA_HOME (where the jars are; default: build-kafka beside deploy/), KAFKA_DATA (the broker's folder; default:
# $KAFKA_HOME/data), KAFKA_HOST (the address to listen on, default 127.0.0.1), KAFKA_PORT (default 9092; the controller listens on the next
# one, on loopback), KAFKA_HEAP (default 512m), KAFKA_SETTINGS (further lines of server.properties, which win) and KAFKA_CLUSTER_ID (of a
# cluster of several brokers; default: one of its own).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${KAFKA_HOME:-$(cd "$here/../.." && pwd)/build-kafka}
data=${KAFKA_DATA:-$home/data}
host=${KAFKA_HOST:-127.0.0.1}
port=${KAFKA_PORT:-9092}
controller_port=$((port + 1))
heap=${KAFKA_HEAP:-512m}
pid_file=$data/broker.pid
config=$data/server.properties
log_level=-Dorg.slf4j.simpleLogger.defaultLogLevel=${KAFKA_LOG:-warn}
ready_tenths=600

usage() {
    sed -n '4,7s/^#   //p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

fail() {
    echo "kafka.sh: $*" >&2
    exit 1
}

need_jars() {
    ls "$home"/libs/kafka_2.13-*.jar >/dev/null 2>&1 || fail "the broker is not installed in $home; run: deploy/kafka/kafka.sh install"
}

tool() {
    need_jars
    java -Xshare:auto -XX:TieredStopAtLevel=1 "$log_level" -cp "$home/libs/*" "$@"
}

# Whether the process of the pid file lives and is a broker: pids are used again.
alive() {
    [ -s "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null && grep -q kafka.Kafka "/proc/$(cat "$pid_file")/cmdline" 2>/dev/null
}

listens() {
    (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null
}

install_jars() {
    command -v java >/dev/null || fail "there is no java; run deploy/deps.sh"
    command -v mvn >/dev/null || fail "there is no mvn (Maven); run deploy/deps.sh"
    if ! ls "$home"/libs/kafka_2.13-*.jar >/dev/null 2>&1; then
        mkdir -p "$home"
        rm -rf "$home/libs.new"
        # Maven's own first run may meet a registry that is slow to answer: once more before giving up.
        for try in 1 2 3; do
            mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$home/libs.new" -DincludeScope=runtime && break
            [ "$try" -lt 3 ] || fail "Maven could not fetch the broker's jars"
        done
        rm -rf "$home/libs"
        mv "$home/libs.new" "$home/libs" # whole or not at all
    fi
    ls "$home"/libs/kafka_2.13-*.jar
}

write_config() {
    cat >"$config" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://$host:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://$host:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$data/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
num.network.threads=1
num.io.threads=2
${KAFKA_SETTINGS:-}
EOF
}

start() {
    local pid
    need_jars
    if alive; then
        echo "already running, pid $(cat "$pid_file"), $host:$port"
        return
    fi
    for at in "$host $port" "127.0.0.1 $controller_port"; do
        # shellcheck disable=SC2086 # two words
        if listens $at; then
            fail "port ${at#* } is in use by another process; set KAFKA_PORT to a free port (the controller takes the next one)"
        fi
    done
    mkdir -p "$data"
    write_config
    if [ ! -f "$data/log/meta.properties" ]; then
        tool kafka.tools.StorageTool format -t "${KAFKA_CLUSTER_ID:-$(tool kafka.tools.StorageTool random-uuid)}" -c "$config" >"$data/format.out" 2>&1 ||
            { cat "$data/format.out" >&2; fail "the broker's folder $data could not be made"; }
    fi
    setsid java "-Xms$heap" "-Xmx$heap" -XX:+UseG1GC "$log_level" -cp "$home/libs/*" kafka.Kafka "$config" >>"$data/broker.out" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$pid_file"
    # The port opens before the broker has registered with its controller: ready is when the log says so or a request is answered.
    for _ in $(seq $ready_tenths); do
        kill -0 "$pid" 2>/dev/null || { tail -n 20 "$data/broker.out" >&2; fail "the broker ended"; }
        if listens "$host" "$port" && tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$host:$port" --list >/dev/null 2>&1; then
            echo "ready, pid $pid, $host:$port"
            return
        fi
        sleep 0.1
    done
    fail "the broker did not answer in a minute; its output is in $data/broker.out"
}

stop() {
    local signal=$1 pid
    if ! alive; then
        echo "not running"
        rm -f "$pid_file"
        return
    fi
    pid=$(cat "$pid_file")
    kill "-$signal" "$pid"
    for _ in $(seq 300); do
        if ! kill -0 "$pid" 2>/dev/null; then
            rm -f "$pid_file"
            echo "stopped"
            return
        fi
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    rm -f "$pid_file"
    echo "stopped (by SIGKILL, after 30 s)"
}

topic() {
    local name=$1 partitions=$2 settings=() setting
    shift 2
    for setting in "$@"; do
        settings+=(--config "$setting")
    done
    tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$host:$port" --create --if-not-exists --topic "$name" \
        --partitions "$partitions" --replication-factor 1 "${settings[@]}"
}

case "${1:-}" in
install) install_jars ;;
start) start ;;
stop) stop TERM ;;
kill) stop KILL ;;
status) if alive; then echo "running, pid $(cat "$pid_file"), $host:$port"; else echo "not running"; exit 1; fi ;;
topic) [ $# -ge 3 ] || usage; shift; topic "$@" ;;
tool) [ $# -ge 2 ] || usage; shift; tool "$@" ;;
*) usage ;;
esac
