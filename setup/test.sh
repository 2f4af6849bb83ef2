#!/usr/bin/env bash
# Run all tests, three files at a time. Up to five that failed run once more, alone: whatever waits for a server
# can fail only because the two processors had no time for it. What fails alone, too, has failed; both runs are shown.
set -uo pipefail
cd "$(dirname "$0")/.."

most=5
.venv/bin/pytest -n 3 --dist loadfile --no-loadscope-reorder --cache-clear "$@"
code=$?
[ "$code" -eq 1 ] || exit "$code" # interrupted, or nothing to run
failed=$(grep -c '": true' .pytest_cache/v/cache/lastfailed)
if [ "$failed" -gt "$most" ]; then
    exit "$code"
fi
echo "$failed failed beside others; now alone:"
exec .venv/bin/pytest -v --last-failed "$@"
