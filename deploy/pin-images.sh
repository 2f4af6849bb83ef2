#!/bin/sh
# Pins the images that docker compose runs and builds on: asks their registries which digest each tag has now, and writes
# it into .env, behind the tag. Run it once, look at what it wrote, and again whenever you want newer ones.
set -eu
cd "$(dirname "$0")/.."
env_file=${ENV_FILE:-.env}

images=$(sed -n 's/^\(ROADVAULT_[A-Z]*_IMAGE\)=\([^@]*\).*/\1=\2/p' "$env_file")
[ -n "$images" ] || { echo "$env_file names no image: copy the lines ROADVAULT_…_IMAGE of .env.example" >&2; exit 1; }
for line in $images; do
    variable=${line%%=*} tag=${line#*=}
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$tag")
    case "$digest" in
        sha256:????????????????????????????????????????????????????????????????) ;;
        *) echo "$tag: the registry told no digest: $digest" >&2; exit 1 ;;
    esac
    sed "s|^$variable=.*|$variable=$tag@$digest|" "$env_file" >"$env_file.new"
    cat "$env_file.new" >"$env_file"
    rm "$env_file.new"
    echo "$variable=$tag@$digest"
done
