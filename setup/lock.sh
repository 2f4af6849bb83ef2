#!/usr/bin/env bash
# Writes deploy/requirements.txt and deploy/requirements-build.txt anew: what the image installs, each file by its hash, in
# the versions of constraints.txt. Run it after a change of constraints.txt or of pyproject.toml's dependencies.
set -euo pipefail

cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pip-tools

# lock TARGET SOURCE...: no address of an index goes into the file, which is the same wherever it is made.
lock() {
    local target=$1
    shift
    "$work/venv/bin/pip-compile" --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --constraint constraints.txt \
        --output-file "$work/locked.txt" "$@"
    {
        echo "# Made by setup/lock.sh from constraints.txt: do not edit."
        cat "$work/locked.txt"
    } >"$target"
    rm "$work/locked.txt"
}

lock deploy/requirements.txt pyproject.toml
sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml >"$work/build.in"
lock deploy/requirements-build.txt "$work/build.in"
