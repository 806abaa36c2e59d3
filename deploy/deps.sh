#!/usr/bin/env bash
# Installs what Weir needs to build, run and test on Debian 12. Idempotent: asks dpkg what is missing and installs only
# that. Without root it prints the one line to run and exits 3.
set -euo pipefail

packages=(
    gcc make pkg-config flex bison            # build
    protobuf-c-compiler libprotobuf-c-dev     # messages on the wire and on disk
    libnng-dev libmbedtls-dev                 # control RPC and data streams
    librdkafka-dev                            # Kafka
    librocksdb-dev                            # state
    libyaml-dev                               # configuration and job files
    libjansson-dev                            # JSON documents (REST, --json)
    libmicrohttpd-dev libcurl4-openssl-dev    # HTTP server and client
    libxxhash-dev zlib1g-dev                  # hashes, compression
    check                                     # unit tests
    python3 jq curl procps gawk               # integration tests and the demo's independent count
)

# Kafka's broker, for tests and demonstrations, runs on any Java from 11 on and is fetched with Maven: whichever is there.
command -v java >/dev/null || packages+=(default-jre-headless)
command -v mvn >/dev/null || packages+=(maven)

missing=()
for p in "${packages[@]}"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

install="apt-get install -y --no-install-recommends ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then
    echo "Weir needs packages that are not installed. As root, run:" >&2
    echo "  apt-get update && $install" >&2
    exit 3
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing: ${missing[*]}"
log=$(mktemp)
if ! { apt-get update && $install; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "deps.sh: installation failed; the whole output is in $log" >&2
    exit 1
fi
rm -f "$log"
