#!/usr/bin/env bash
# The demonstration: a cluster of two TaskManagers counts 5,000,000 vehicles by type in windows of 20 seconds, one of them is killed in the
# middle, and awk says whether the result is right. Ends with exit code 0 when every window is exact.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

demo=/tmp/weir-demo
export WEIR_HOME_DIR=$demo/cluster WEIR_OPTS="-D rest.port=0 -D jobmanager.rpc.port=0 -D state.checkpoints.dir=$demo/checkpoints"
if [ -e "$demo" ] && [ ! -O "$demo" ]; then
    echo "demo.sh: $demo belongs to somebody else" >&2
    exit 1
fi
deploy/local/stop-cluster.sh
rm -rf "$demo"
mkdir -m 700 "$demo"
trap 'deploy/local/stop-cluster.sh >/dev/null' EXIT

echo "--- writing 5,000,000 vehicles"
examples/make-vehicles.sh "$demo/vehicles" 5000000
echo "--- starting a cluster"
deploy/local/start-cluster.sh -t 2 -s 1
echo "--- running examples/vehicles-local.yaml"
address=$(sed -n 's/.* rest=\([^ ]*\).*/\1/p' "$demo/cluster/jobmanager.out")
build/weir run -m "$address" examples/vehicles-local.yaml &
client=$!
# The whole job takes about a second: no time for more than one question in the loop.
job=null
until [ "$job" != null ]; do
    job=$(curl -s "http://$address/jobs" | jq -r '.jobs[0].id')
done
until curl -s "http://$address/jobs/$job/checkpoints" | grep -q '"latest":{"completed":{'; do
    kill -0 "$client" 2>/dev/null || {
        echo "demo.sh: the job ended before its first checkpoint" >&2
        exit 1
    }
done
echo "--- killing a TaskManager (SIGKILL) after a checkpoint"
deploy/local/taskmanager.sh kill 1
deploy/local/taskmanager.sh start 1
wait "$client"
restarts=$(curl -s "http://$address/jobs/$job" | jq .restarts)
[ "$restarts" -ge 1 ] || {
    echo "demo.sh: the kill came too late to hit the job" >&2
    exit 1
}
build/weir status -m "$address" vehicle-statistics
echo "--- comparing with awk"
examples/count-vehicles.sh "$demo/vehicles" >"$demo/expected.tsv"
cat "$demo"/statistics/part-* |
    jq -r '[(.window_start | sub("\\.[0-9]+$"; "") | sub(" "; "T") + "Z" | fromdate), .vehicleType, .vehicles, .avg_speed * .vehicles] | @tsv' |
    awk -F'\t' '{ printf "%s\t%s\t%d\t%.3f\n", $1, $2, $3, $4 }' | LC_ALL=C sort >"$demo/actual.tsv"
[ -s "$demo/expected.tsv" ] || {
    echo "demo: awk counted nothing" >&2
    exit 1
}
if ! diff "$demo/expected.tsv" "$demo/actual.tsv" >"$demo/differences"; then
    head -n 10 "$demo/differences"
    echo "demo: the results DIFFER from awk's: $demo/differences" >&2
    exit 1
fi
head -n 5 "$demo/actual.tsv"
echo "demo: $(wc -l <"$demo/actual.tsv") counts of windows and types, all exact"
