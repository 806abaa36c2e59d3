#!/usr/bin/env bash
# Counts the vehicles of make-vehicles.sh by window and type with awk, which shares no code with Weir. Prints tab-separated, sorted lines:
# window start in epoch seconds, type, count, sum of speeds.
#
#   count-vehicles.sh DIR
set -euo pipefail
cat "$1"/*.jsonl | awk -F'[:,}]' '$4 != "null" && $6 >= 0 {
    key = int($8 / 20000) * 20 "\t" substr($4, 2, length($4) - 2)
    count[key]++
    sum[key] += $6
}
END {
    for (key in count) {
        printf "%s\t%d\t%.3f\n", key, count[key], sum[key]
    }
}' | LC_ALL=C sort
