#!/usr/bin/env bash
# Makes this checkout ready to run: system programs, the virtual environment, Kubo. `make setup` calls it.
# With the argument `tests` also what tests break things with: a fault proxy, a clock that can be bent, a tracer of
# system calls, a load balancer, what checks the rules of alerts and the Helm chart, browsers; and the clients that people
# use, which the tests run.
# Idempotent, and quick when there is nothing to do. Needs no terminal.
set -euo pipefail

cd "$(dirname "$0")/.."

readonly PYTHON_AT_LEAST=3.11 KUBO_AT_LEAST=0.40 GO_AT_LEAST=1.26
readonly CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/roadvault"
FOR_TESTS=$([ "${1:-}" != tests ] || echo yes)
FOR_BENCH=$([ "${1:-}" != bench ] || echo yes)
readonly FOR_TESTS FOR_BENCH
readonly GENERATOR=openapi-python-client==0.29.1
readonly KUBERNETES_SCHEMAS=kubernetes-validate==1.37.0
readonly POLICY=/usr/sbin/policy-rc.d

# Debian keeps servers out of an ordinary user's PATH; Go's own installer puts it where the last entry says.
export PATH="$PATH:/usr/sbin:/sbin:/usr/local/go/bin"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# at_least FOUND WANTED: compares versions by their numbers.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

hash_of() { cat "$@" | sha256sum | cut -c 1-12; }

TOXIPROXY="$CACHE/toxiproxy-$(hash_of setup/toxiproxy/go.mod setup/toxiproxy/go.sum)"
readonly TOXIPROXY

# --- system programs -------------------------------------------------------------------------------------------

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if have "$name" && at_least "$("$name" -c 'import platform; print(platform.python_version())')" "$PYTHON_AT_LEAST"; then
            command -v "$name"
            return
        fi
    done
}

# The first of these packages that apt knows; the first of all where its lists are empty.
first_known() {
    local name
    for name in "$@"; do
        if apt-cache show "$name" >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    echo "$1"
}

has_venv() { "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }

# rustup's cargo looks for its toolchains in the user's home; another user's lie beside it.
cargo_runs() {
    have cargo || return
    cargo --version >/dev/null 2>&1 && return
    RUSTUP_HOME="$(dirname "$(command -v cargo)")/../../.rustup"
    export RUSTUP_HOME
    cargo --version >/dev/null 2>&1
}

# The packages whose programs are not on this machine, one on each line.
missing_packages() {
    local python
    python=$(find_python)
    if [ -z "$python" ]; then
        printf 'python3\npython3-venv\n'
    elif [ ! -x .venv/bin/pip ] && ! has_venv "$python"; then
        # Debian splits venv off; a python3.12 of its own has a python3.12-venv of its own.
        first_known "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" python3-venv
    fi
    { have mariadbd && have mariadb-install-db; } || echo mariadb-server
    have redis-server || echo redis-server
    have openssl || echo openssl
    have setpriv || echo util-linux
    [ -z "$FOR_TESTS" ] || missing_test_packages
    [ -z "$FOR_BENCH" ] || have nginx || echo nginx-light
    [ -z "$FOR_BENCH" ] || have curl || echo curl
    # Where there are both, as on Debian 12, only p7zip-full has a program named 7z.
    have 7z || first_known p7zip-full 7zip
}

missing_test_packages() {
    have strace || echo strace
    have mariadb-backup || echo mariadb-backup
    [ -e /usr/lib/galera/libgalera_smm.so ] || echo galera-4
    have rsync || echo rsync
    have lsattr || echo e2fsprogs
    have faketime || echo faketime
    have haproxy || echo haproxy
    have promtool || echo prometheus
    have amtool || echo prometheus-alertmanager
    have chromium || echo chromium
    have firefox-esr || echo firefox-esr
    # What people use RoadVault with, for tests/clients.
    local program
    for program in curl wget ffmpeg; do have "$program" || echo "$program"; done
    have aria2c || echo aria2
    { have node && have npm; } || printf 'nodejs\nnpm\n'
    { have javac && have mvn; } || printf 'default-jdk-headless\nmaven\n'
    have go || echo golang-go
    cargo_runs || echo cargo
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

remove_policy() { as_root rm -f "$POLICY"; }

# apt starts the system's own MariaDB and Redis unless a policy forbids it. A policy that is there already stays.
forbid_service_starts() {
    [ ! -e "$POLICY" ] || return 0
    trap remove_policy EXIT
    printf '#!/bin/sh\n# temporary, by RoadVault setup\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

# The lists come first: without them, as in an image of a container, nobody can tell which of two names is right.
prepare_apt() {
    local wanted="$*"
    have apt-get || fail "these packages are missing, and there is no apt-get to install them: $wanted. Please install them and run this again."
    if [ "$(id -u)" -ne 0 ] && ! have sudo; then
        fail "these packages are missing: $wanted. Please run as root: apt-get install $wanted"
    fi
    as_root true || fail "these packages are missing: $wanted. Please run: sudo apt-get install $wanted"
    as_root apt-get update -qq || say "apt-get update failed; trying with the package lists as they are"
}

install_packages() {
    local wanted="$*"
    say "installing with apt: $wanted"
    forbid_service_starts
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" </dev/null >&2 ||
        fail "apt could not install these packages: $wanted. Please install them and run this again."
    if [ "$(trap -p EXIT)" ]; then
        remove_policy
        trap - EXIT
    fi
    hash -r
}

ensure_programs() {
    local missing
    missing=$(missing_packages)
    if [ -n "$missing" ]; then
        # shellcheck disable=SC2086 # one word for each package is what is wanted
        prepare_apt $missing
        # shellcheck disable=SC2046 # likewise
        install_packages $(missing_packages)
        missing=$(missing_packages)
        [ -z "$missing" ] ||
            fail "after the installation these are still missing or too old: ${missing//$'\n'/ }. RoadVault needs Python $PYTHON_AT_LEAST or newer, MariaDB, Redis, OpenSSL and 7z."
    fi
}

# --- the virtual environment -----------------------------------------------------------------------------------

# venv_is_current STAMP WANTED
venv_is_current() { [ "$(cat "$1" 2>/dev/null)" = "$2" ] && .venv/bin/python -c '' 2>/dev/null; }

ensure_venv() {
    local stamp=.venv/roadvault-stamp wanted
    # A virtual environment knows its place, so a checkout that was moved gets a new one.
    wanted="$(hash_of pyproject.toml clients/*/pyproject.toml constraints.txt) $PWD"
    venv_is_current "$stamp" "$wanted" && return
    # One at a time; whoever waited finds the work done.
    exec 9<.
    flock 9
    venv_is_current "$stamp" "$wanted" && return
    say "installing the Python packages into .venv (about a minute the first time)"
    .venv/bin/python -m pip --version >/dev/null 2>&1 || "$(find_python)" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
        -e clients/python -e clients/agent -e '.[local,dev]' ||
        fail "pip could not install the Python packages (see above); is the package index within reach? Run this again once it is."
    echo "$wanted" >"$stamp"
    exec 9>&-
}

# --- Kubo ------------------------------------------------------------------------------------------------------

# The user's own ipfs, if it is new enough; never the link that we make ourselves.
ipfs_on_path() {
    local found
    found=$(command -v ipfs) || return 0
    found=$(readlink -f "$found")
    case "$found" in "$CACHE"/*) return 0 ;; esac
    if at_least "$("$found" version --number 2>/dev/null || echo 0)" "$KUBO_AT_LEAST"; then echo "$found"; fi
}

check_go() {
    local remedy="install Go $GO_AT_LEAST or newer from https://go.dev/dl, or put an ipfs (Kubo $KUBO_AT_LEAST or newer) on the PATH; then run this again."
    have go || fail "Kubo is not on this machine, and there is no Go to build it: $remedy"
    local version
    version=$(cd / && go env GOVERSION)
    at_least "${version#go}" "$GO_AT_LEAST" || fail "Kubo is not on this machine, and $version is too old to build it: $remedy"
}

build_kubo() {
    local target=$1 fresh started=$SECONDS
    check_go
    mkdir -p "$CACHE"
    fresh=$(mktemp "$CACHE/.ipfs-XXXXXX")
    say "building Kubo from its Go module, once (about 2 to 3 minutes on two cores)"
    # The build must not change the committed go.mod and go.sum: they say what is built.
    if ! (cd setup/kubo && CGO_ENABLED=0 go build -mod=readonly -trimpath -o "$fresh" github.com/ipfs/kubo/cmd/ipfs \
        2> >(grep -v '^go: downloading ' >&2)); then
        rm -f "$fresh"
        fail "Kubo could not be built (see above); is Go's module proxy within reach? Run this again once it is, or put an ipfs on the PATH."
    fi
    chmod 755 "$fresh"
    mv "$fresh" "$target"
    say "Kubo is built, in $((SECONDS - started)) s"
}

# The stack takes the ipfs that is linked beside the interpreter.
ensure_kubo() {
    local ipfs
    ipfs=$(ipfs_on_path)
    if [ -z "$ipfs" ]; then
        ipfs="$CACHE/ipfs-$(hash_of setup/kubo/go.mod setup/kubo/go.sum)"
        [ -x "$ipfs" ] || build_kubo "$ipfs"
    fi
    [ "$(readlink .venv/bin/ipfs || true)" = "$ipfs" ] || ln -sfn "$ipfs" .venv/bin/ipfs
}

# --- the fault proxy of the tests ------------------------------------------------------------------------------

# Any Go since 1.17 builds it, Debian's own among them.
ensure_toxiproxy() {
    local toxiproxy fresh
    toxiproxy=$(command -v toxiproxy-server) || toxiproxy=$TOXIPROXY
    if [ ! -x "$toxiproxy" ]; then
        mkdir -p "$CACHE"
        fresh=$(mktemp "$CACHE/.toxiproxy-XXXXXX")
        say "building Toxiproxy from its Go module, once (about half a minute)"
        if ! (cd setup/toxiproxy && CGO_ENABLED=0 go build -mod=readonly -trimpath -o "$fresh" \
            github.com/Shopify/toxiproxy/v2/cmd/server 2> >(grep -v '^go: downloading ' >&2)); then
            rm -f "$fresh"
            fail "Toxiproxy could not be built (see above); is Go's module proxy within reach? Run this again once it is."
        fi
        chmod 755 "$fresh"
        mv "$fresh" "$toxiproxy"
    fi
    [ "$(readlink .venv/bin/toxiproxy-server || true)" = "$toxiproxy" ] ||
        ln -sfn "$toxiproxy" .venv/bin/toxiproxy-server
}

# --- real clients, which the tests run ---------------------------------------------------------------------------

# Makes a directory once, by a command that gets a fresh one: half of it is never taken for the whole.
ensure_made() {
    local target=$1 fresh
    shift
    [ ! -d "$target" ] || return 0
    mkdir -p "$CACHE"
    fresh=$(mktemp -d "$CACHE/.clients-XXXXXX")
    if ! "$@" "$fresh" >&2; then
        rm -rf "$fresh"
        fail "what the tests need could not be installed (see above); are the package registries within reach? Run this again once they are."
    fi
    mv "$fresh" "$target" || rm -rf "$fresh"
}

make_java_clients() {
    say "getting the Java clients of the tests, once (about half a minute)"
    mvn -q -B -f tests/clients/pom.xml dependency:copy-dependencies -DoutputDirectory="$1/jars" &&
        javac -cp "$1/jars/*" -d "$1/classes" tests/clients/Clients.java tests/clients/Tus.java
}

make_node_clients() {
    cp tests/clients/package.json tests/clients/clients.cjs tests/clients/tus.cjs tests/clients/uppy.mjs "$1" &&
        npm install --prefix "$1" --no-audit --no-fund --no-package-lock --silent &&
        "$1/node_modules/.bin/esbuild" "$1/uppy.mjs" --bundle --log-level=warning --outfile="$1/uppy.js"
}

make_go_client() { CGO_ENABLED=0 go build -o "$1/go-client" tests/clients/clients.go; }

make_provider() {
    cp tests/provider/package.json tests/provider/provider.js "$1" &&
        npm install --prefix "$1" --no-audit --no-fund --no-package-lock --silent
}

make_rust_client() {
    cargo_runs && cargo build -q --release --manifest-path tests/clients/tus-rust/Cargo.toml --target-dir "$1/target" &&
        mv "$1/target/release/tus-rust" "$1" && rm -rf "$1/target"
}

# It pins other versions of what we use, too, so it has a place of its own.
make_generator() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --target "$1" "$GENERATOR"
}

ensure_clients() {
    local java node go rust provider
    java="$CACHE/clients-java-$(hash_of tests/clients/pom.xml tests/clients/Clients.java tests/clients/Tus.java)"
    node="$CACHE/clients-node-$(hash_of tests/clients/package.json tests/clients/clients.cjs tests/clients/tus.cjs tests/clients/uppy.mjs)"
    rust="$CACHE/clients-rust-$(hash_of tests/clients/tus-rust/Cargo.toml tests/clients/tus-rust/src/main.rs)"
    go="$CACHE/clients-go-$(hash_of tests/clients/clients.go)"
    ensure_made "$java" make_java_clients
    ensure_made "$node" make_node_clients
    provider="$CACHE/provider-$(hash_of tests/provider/package.json tests/provider/provider.js)"
    ensure_made "$go" make_go_client
    ensure_made "$provider" make_provider
    ensure_made "$rust" make_rust_client
    ensure_made "$CACHE/generator-$(hash_of <(echo "$GENERATOR"))" make_generator
    mkdir -p .venv/clients
    ln -sfn "$CACHE/generator-$(hash_of <(echo "$GENERATOR"))" .venv/clients/generator
    ln -sfn "$java" .venv/clients/java
    ln -sfn "$node" .venv/clients/node
    ln -sfn "$go" .venv/clients/go
    ln -sfn "$provider" .venv/clients/provider
    ln -sfn "$rust" .venv/clients/rust
}

# --- what renders the Helm chart, and checks it -------------------------------------------------------------------

# Helm is large, as it talks to clusters, too: built without optimisation it takes a quarter less of processor
# time, and renders in half a second all the same. Kubernetes' schemas come from a package of PyPI, which has them for
# all versions; references in them are turned from its own addresses into files, as kubeconform reads them.
make_charts() {
    say "building Helm and kubeconform from their Go modules, once (a minute or two)"
    (cd setup/helm && CGO_ENABLED=0 go build -mod=readonly -trimpath -gcflags=all='-N -l' -ldflags '-s -w' -o "$1/" \
        helm.sh/helm/v3/cmd/helm github.com/yannh/kubeconform/cmd/kubeconform 2> >(grep -v '^go: downloading ' >&2)) &&
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target "$1/all" "$KUBERNETES_SCHEMAS" &&
        mkdir "$1/schemas" || return
    local version
    for version in 1.28.0 1.34.0 1.37.0; do
        mv "$1/all/kubernetes_validate/kubernetes-json-schema/v$version-local-strict" "$1/schemas/v$version" &&
            sed -i 's#"/api/_definitions.json#"_definitions.json#; s/"$id":/"$comment":/' "$1/schemas/v$version"/*.json || return
    done
    rm -rf "$1/all"
}

ensure_charts() {
    local charts
    charts="$CACHE/charts-$(hash_of setup/helm/go.mod setup/helm/go.sum <(declare -f make_charts; echo "$KUBERNETES_SCHEMAS"))"
    ensure_made "$charts" make_charts
    ln -sfn "$charts" .venv/charts
}

# --- what the benchmarks measure RoadVault beside --------------------------------------------------------------

ensure_peer() {
    local program=$1 module=$2 places
    places="$CACHE/peers-${module##*@}"
    if ! have "$program" && [ ! -x "$places/$program" ]; then
        check_go
        say "building $program from its Go module, once (a minute or two)"
        GOBIN="$places" CGO_ENABLED=0 go install "$module" 2> >(grep -v '^go: downloading ' >&2) ||
            fail "$program could not be built (see above); is Go's module proxy within reach?"
    fi
    [ ! -x "$places/$program" ] || ln -sfn "$places/$program" ".venv/bin/$program"
}

ensure_peers() {
    ensure_peer restic github.com/restic/restic/cmd/restic@v0.18.1
    ensure_peer tusd github.com/tus/tusd/v2/cmd/tusd@v2.9.1
}

ensure_programs
ensure_venv
ensure_kubo
[ -z "$FOR_TESTS" ] || ensure_toxiproxy
[ -z "$FOR_TESTS" ] || ensure_clients
[ -z "$FOR_TESTS" ] || ensure_charts
[ -z "$FOR_BENCH" ] || ensure_peers
