#!/usr/bin/env bash
# Everything that `make test` runs, stage by stage; goes on after a stage that fails. The last line sums up: `N passed, N failed, N
# skipped`. A stage that fails without having counted a failed test counts as one. What failed is said once more before that line.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

passed=0
failed=0
skipped=0
log=$(mktemp)
failures=$(mktemp)
trap 'rm -f "$log" "$failures"' EXIT

# The lines that name a failure: of Check, of unittest, of the simulations and their ledger, of fuzz and chaos.
names='^[^ ]+:[0-9]+:[FE]:|^(FAIL|ERROR): |, seed [0-9]+: |: never reached: |^fuzz .*: its input, | \.\.\. FAILED |^make.* \*\*\* '

stage() {
    local name=$1 status line p f s
    shift
    echo "=== $name"
    "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
    p=$(sed -E 's/^([0-9]+) passed.*/\1/' <<<"${line:-0 passed}")
    f=$(sed -nE 's/.* ([0-9]+) failed.*/\1/p' <<<"$line")
    s=$(sed -nE 's/.* ([0-9]+) skipped.*/\1/p' <<<"$line")
    if [ "$status" -ne 0 ] && [ "${f:-0}" -eq 0 ]; then
        f=1
    elif [ -z "$line" ]; then
        p=1 # a stage without tests of its own, such as tidy
    fi
    if [ "$status" -ne 0 ]; then
        { grep -aE "$names" "$log" || tail -n 5 "$log"; } | cut -c 1-500 | head -n 20 | sed "s/^/$name: /" >> "$failures"
    fi
    passed=$((passed + p))
    failed=$((failed + ${f:-0}))
    skipped=$((skipped + ${s:-0}))
}

stage build make -j"$(nproc)" all failpoints build/kafka-tool chaos-tools
stage tidy make -j"$(nproc)" tidy
stage unit make -j"$(nproc)" unit
stage fuzz make -j"$(nproc)" fuzz
stage sim make sim SEEDS=1..2000 SIM_FLAGS=--ledger
stage integration python3 tests/integration/run.py
stage chaos python3 tests/chaos/run.py --minutes 2 --seed 1
if [ -s "$failures" ]; then
    echo "=== what failed"
    cat "$failures"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
