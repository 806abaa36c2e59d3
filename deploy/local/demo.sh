#!/usr/bin/env bash
# The demonstration: a cluster of two TaskManagers counts 1,000,000 vehicles by type in windows of 20 seconds, and awk says whether it
# counted right. Ends with exit code 0 when every window is exact.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

demo=/tmp/weir-demo
export WEIR_HOME_DIR=$demo/cluster WEIR_OPTS="-D rest.port=0 -D jobmanager.rpc.port=0"
if [ -e "$demo" ] && [ ! -O "$demo" ]; then
    echo "demo.sh: $demo belongs to somebody else" >&2
    exit 1
fi
deploy/local/stop-cluster.sh
rm -rf "$demo"
mkdir -m 700 "$demo"
trap 'deploy/local/stop-cluster.sh >/dev/null' EXIT

echo "--- writing 1,000,000 vehicles"
examples/make-vehicles.sh "$demo/vehicles" 1000000
echo "--- starting a cluster"
deploy/local/start-cluster.sh -t 2 -s 1
echo "--- running examples/vehicles-local.yaml"
address=$(sed -n 's/.* rest=\([^ ]*\).*/\1/p' "$demo/cluster/jobmanager.out")
build/weir run -m "$address" examples/vehicles-local.yaml
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
