#!/usr/bin/env bash
# Writes vehicles as JSON lines into DIR, the same for the same SEED: event times out of order by less than 2 s, some types NULL, some speeds
# negative. Speeds are multiples of 1/8, so that their sums are exact in any order.
#
#   make-vehicles.sh DIR ROWS [SEED]
set -euo pipefail
[ $# -ge 2 ] || {
    echo "usage: make-vehicles.sh DIR ROWS [SEED]" >&2
    exit 2
}
mkdir -p "$1"
awk -v dir="$1" -v rows="$2" -v seed="${3:-1}" 'BEGIN {
    srand(seed)
    split("car truck bus motorcycle bicycle", types, " ")
    for (i = 0; i < rows; i++) {
        type = int(rand() * 50)
        printf "{\"vehicleId\":\"v%d\",\"vehicleType\":%s,\"speed\":%.3f,\"ts\":%d}\n", int(rand() * 10000),
            type == 0 ? "null" : "\"" types[type % 5 + 1] "\"", int(rand() * 1200 - 8) / 8, 1795238400000 + i * 2 - int(rand() * 2000) \
            > (dir "/vehicles-" (i % 2) ".jsonl")
    }
}'
