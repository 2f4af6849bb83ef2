#!/usr/bin/env bash
# Copies what the pages take from npm, at the versions named here, into their directory `static/vendor`: each file with
# its package's licence, and a manifest with versions and SHA-256, which a test holds the files to. There is no build.
set -euo pipefail

cd "$(dirname "$0")/.."

readonly VENDOR=services/ingest/roadvault_ingest/pages/static/vendor
# Package, version, and which of its files are taken.
readonly PACKAGES=(
    "htmx.org 4.0.1 dist/htmx.min.js"
    "uplot 1.6.32 dist/uPlot.iife.min.js dist/uPlot.min.css"
    "tus-js-client 4.3.1 dist/tus.min.js"
)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$VENDOR"
mkdir -p "$VENDOR"
for line in "${PACKAGES[@]}"; do
    read -r name version files <<<"$line"
    npm pack --silent --pack-destination "$work" "$name@$version" >/dev/null
    mkdir "$work/$name"
    tar -xzf "$work/$name-$version.tgz" -C "$work/$name" --strip-components=1
    cp "$work/$name/LICENSE" "$VENDOR/$name.LICENSE"
    for file in $files; do
        cp "$work/$name/$file" "$VENDOR/"
        printf '%s  %s  %s@%s %s\n' "$(sha256sum "$VENDOR/${file##*/}" | cut -d ' ' -f 1)" "${file##*/}" "$name" "$version" "$file"
    done
done >"$work/manifest"
mv "$work/manifest" "$VENDOR/manifest.txt"
