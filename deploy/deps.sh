#!/usr/bin/env bash
# Installs what Weir needs to build, run and test on Debian 12. Idempotent: asks dpkg what is missing and installs only
# that. Without root it names them, and what to run, and exits 3.
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
    libraft-dev                               # consensus among JobManagers (see raft_version)
    check                                     # unit tests
    python3 jq curl procps gawk               # integration tests and the demo's independent count
    iproute2 strace                           # chaos tests: networks of their own, disks that fail
)

# This version and no other: Debian 12's own 0.15.0 can commit two histories, and later ones change who owns what.
raft_version=0.22.1
pin=/etc/apt/preferences.d/weir-libraft

# Once that version is there it stays: at a priority above 1000 no upgrade replaces it, and apt goes back to it from any other.
pin_raft() {
    local text="Explanation: written by Weir's deploy/deps.sh, which says why
Package: libraft0 libraft-dev
Pin: version $raft_version-*
Pin-Priority: 1001"
    [ "$(cat "$pin" 2>/dev/null)" = "$text" ] || echo "$text" >"$pin" ||
        echo "deps.sh: $pin cannot be written: take care that no upgrade replaces libraft $raft_version" >&2
}

# Kafka's broker, for tests and demonstrations, runs on any Java from 11 on and is fetched with Maven: whichever is there.
command -v java >/dev/null || packages+=(default-jre-headless)
command -v mvn >/dev/null || packages+=(maven)

missing=()
for p in "${packages[@]}"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$p")
done

# Empty unless libraft-dev is there in the version wanted, in any build of the distribution's.
raft_installed() {
    dpkg-query -W -f='${Version}\n' libraft-dev 2>/dev/null | grep -F "$raft_version-" || true
}
if [ -z "$(raft_installed)" ] && [[ " ${missing[*]-} " != *" libraft-dev "* ]]; then
    missing+=(libraft-dev)
fi
if [ ${#missing[@]} -eq 0 ]; then
    [ "$(id -u)" -ne 0 ] || pin_raft
    exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
    echo "Weir needs packages that are not installed: ${missing[*]}. As root, run:" >&2
    echo "  $(readlink -f "${BASH_SOURCE[0]}")" >&2
    exit 3
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing: ${missing[*]}"
log=$(mktemp)

fail() {
    tail -n 30 "$log" >&2
    echo "deps.sh: $1; the whole output is in $log" >&2
    exit 1
}

# raft_candidate: the newest build of that version that apt can see.
raft_candidate() {
    apt-cache madison libraft-dev | awk -v want="$raft_version-" 'index($3, want) == 1 { print $3; exit }'
}

backports=/etc/apt/sources.list.d/weir-backports.sources
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Debian 12 has that version in its backports: on the mirror that this machine takes its packages from.
add_backports() {
    local uri codename
    read -r uri codename < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 'Component: main' |
        awk '$1 ~ /debian\/?$/ && $2 !~ /-/ { print; exit }') || return 1
    printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\n' "$uri" "$codename" >"$backports"
    [ ! -e "$keyring" ] || echo "Signed-By: $keyring" >>"$backports"
    if ! apt-get update >>"$log" 2>&1; then
        rm -f "$backports"
        return 1
    fi
}

apt-get update >"$log" 2>&1 || fail "the lists of packages cannot be fetched"
[ -n "$(raft_installed)" ] || [ -n "$(raft_candidate)" ] || add_backports || true
candidate=$(raft_candidate)
if [ -z "$(raft_installed)" ] && [ -z "$candidate" ]; then
    rm -f "$backports"
    fail "no libraft-dev $raft_version in the machine's package sources nor in its backports. Add an archive of bookworm-backports to the \
sources, or install libraft-dev and libraft0 of that version by hand (dpkg -i), and run this again; older versions are not safe"
fi
for i in "${!missing[@]}"; do # with the library, else apt would take the distribution's own
    [ "${missing[i]}" != libraft-dev ] || missing[i]="libraft-dev=$candidate libraft0=$candidate"
done
# shellcheck disable=SC2086 # the list has two packages in one item
apt-get install -y --no-install-recommends ${missing[*]} >>"$log" 2>&1 || fail "installation failed"
rm -f "$log"
pin_raft
