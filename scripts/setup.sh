#!/usr/bin/env bash
# Brings what the tests and benchmarks need besides Rust: Debian packages (real brokers, clients and databases) and a
# Python environment with the clients that AWS publishes; with `bench`, what the benchmarks compare with as well. Does nothing
# where everything is there already.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { # need PACKAGE FILE...: the package is missing if none of the files exists
    local package=$1
    shift
    local file
    for file in "$@"; do
        if compgen -G "$file" >/dev/null || command -v "$file" >/dev/null; then return; fi
    done
    missing+=("$package")
}
need mosquitto mosquitto /usr/sbin/mosquitto
need mosquitto-clients mosquitto_pub
need postgresql '/usr/lib/postgresql/*/bin/initdb'
need openssl openssl
need libfaketime '/usr/lib/*/faketime/libfaketimeMT.so.1'
need iproute2 ip /usr/sbin/ip
need util-linux unshare

if ((${#missing[@]})); then
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # Only the programs are wanted: no service may start, the tests start their own on private ports.
        policy=/usr/sbin/policy-rc.d
        if [[ ! -e $policy ]]; then
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod +x "$policy"
            trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        fi
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "error: the tests need these packages, install them first: ${missing[*]}" >&2
        exit 1
    fi
fi

# A Python environment with what the file of requirements says, anew when that changes.
environment() { # environment FOLDER REQUIREMENTS
    local venv=$1 requirements=$2 wanted
    wanted=$(sha256sum "$requirements" | cut -d' ' -f1)
    if [[ ! -x $venv/bin/python || $(cat "$venv/.requirements" 2>/dev/null) != "$wanted" ]]; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
        echo "$wanted" >"$venv/.requirements"
    fi
}
environment target/test-venv tests/requirements.txt
if [[ ${1-} == bench ]]; then environment target/bench-venv bench/requirements.txt; fi
