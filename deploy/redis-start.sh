#!/bin/sh
# Starts Redis with a password that stands on no command line and in no environment.
set -eu
password=$(cat "${REDIS_PASSWORD_FILE:?names the file with the password}")
case "$password" in
    "" | *[!A-Za-z0-9._~+/=-]*)
        echo "$REDIS_PASSWORD_FILE must hold one line of letters, digits and . _ ~ + / = -" >&2
        exit 1
        ;;
esac
conf=${TMPDIR:-/tmp}/redis.conf
umask 077
rm -f "$conf"
printf 'requirepass %s\n' "$password" >"$conf"
unset password
# The image's entry point gives up root for the user redis.
[ "$(id -u)" -ne 0 ] || chown redis "$conf"
exec docker-entrypoint.sh redis-server "$conf" --appendonly yes "$@"
