#!/bin/sh
# Backs the database up, and brings it back with its last recorded act (architecture/runbook.md#backups-of-the-database).
#
#   database.sh keep DIR             a full backup each day, and the binary log as it is written, until it is stopped
#   database.sh full DIR             one full backup, in a directory of its own below DIR: a set
#   database.sh check DIR            exit code 1 if the newest set is older than a day and a half
#   database.sh restore SET DATADIR  fills an empty data directory with a set, and with what its log has recorded since
#
# It runs where the server's files are, as a user who may read (restore: write) them. Variables:
#   DATABASE_OPTIONS  how clients reach the server; by default its socket, as the database user with the caller's name
#   KEEP_DAYS         a set that is older is removed once there is a newer one; 7
set -eu

options=${DATABASE_OPTIONS:---user=$(id -un) --socket=/run/mysqld/mysqld.sock}
keep_days=${KEEP_DAYS:-7}
day=86400
copier=

say() { printf 'database.sh: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

newest() { find "$1" -mindepth 1 -maxdepth 1 -type d -name '2*Z' | sort | tail -n 1; }
age() { echo $(($(date +%s) - $(stat -c %Y "$1/made"))); }
logs() { find "$1/log" -type f | sort; }

# The file of the log, and the position in it, at which a set's full backup ends. Newer servers name it otherwise.
position() { cat "$1/full/xtrabackup_binlog_info" 2>/dev/null || cat "$1/full/mariadb_backup_binlog_info" 2>/dev/null; }

# Prepared at once: what can't be prepared is no backup. It gets its name last: half of one is never taken for a set.
full() {
    directory=$1 set_=$1/$(date -u +%Y%m%dT%H%M%SZ)
    rm -rf "$directory"/2*Z.new
    mkdir -m 700 "$set_.new" "$set_.new/log"
    # shellcheck disable=SC2086 # options are several words
    if ! mariadb-backup --no-defaults $options --backup --target-dir="$set_.new/full" >"$set_.new/report" 2>&1 ||
        ! mariadb-backup --no-defaults --prepare --target-dir="$set_.new/full" >>"$set_.new/report" 2>&1; then
        fail "the full backup failed: $(tail -n 3 "$set_.new/report")"
    fi
    [ -n "$(position "$set_.new")" ] || fail "the server writes no binary log: start it with --log-bin"
    touch "$set_.new/made"
    sync
    mv "$set_.new" "$set_"
    find "$directory" -mindepth 1 -maxdepth 1 -name '2*Z' ! -path "$set_" -mtime "+$keep_days" -exec rm -rf {} +
    say "$set_ is whole"
}

# Copies the log into a set from where its backup ends, or from the file that was copied last, which is copied anew.
start_copying() {
    first=$(logs "$1" | tail -n 1)
    [ -n "$first" ] || first=$(position "$1" | cut -f 1)
    # shellcheck disable=SC2086 # options are several words
    mariadb-binlog --no-defaults $options --read-from-remote-server --raw --stop-never \
        --result-file="$1/log/" "${first##*/}" &
    copier=$!
}

stop_copying() {
    [ -z "$copier" ] || kill "$copier" 2>/dev/null || true
    copier=
}

# The log goes on into the old set until the new one is whole.
keep() {
    trap stop_copying EXIT
    trap 'exit 0' TERM INT
    [ -n "$(newest "$1")" ] || full "$1"
    while :; do
        set_=$(newest "$1")
        start_copying "$set_"
        while [ "$(age "$set_")" -lt $day ]; do
            sleep 2 &
            wait $!
            kill -0 "$copier" 2>/dev/null || fail "the binary log is not copied into $set_ any more"
        done
        full "$1"
        stop_copying
    done
}

check() {
    set_=$(newest "$1")
    [ -n "$set_" ] || fail "$1 has no set"
    [ "$(age "$set_")" -lt $((day * 3 / 2)) ] || fail "$set_ is the newest set"
}

# A server of its own, which nobody else reaches, takes the log: no service sees a database that is half restored.
restore() {
    set_=$1 data=$2 work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    [ -e "$set_/made" ] || fail "$set_ is no set"
    mariadb-backup --no-defaults --copy-back --target-dir="$set_/full" --datadir="$data" >"$work/report" 2>&1 ||
        fail "the files could not be brought back: $(tail -n 3 "$work/report")"
    first=$(position "$set_" | cut -f 1)
    mariadbd --no-defaults --user="$(id -un)" --datadir="$data" --socket="$work/socket" --pid-file="$work/pid" \
        --tmpdir="$work" --skip-networking --skip-grant-tables --max-allowed-packet=1G --log-bin="${first%.*}" \
        --binlog-format=ROW >"$work/report" 2>&1 &
    server=$!
    trap 'kill $server; wait $server || true; rm -rf "$work"' EXIT
    until mariadb --no-defaults --socket="$work/socket" --execute="SELECT 1" >/dev/null 2>&1; do
        kill -0 $server 2>/dev/null || fail "the server does not start: $(tail -n 3 "$work/report")"
        sleep 0.2
    done
    replay "$set_" | mariadb --no-defaults --socket="$work/socket" --binary-mode --max-allowed-packet=1G ||
        fail "the log of $set_ could not be replayed: empty $data and look into the reason above"
    say "$data is the database of $set_ and of all that its log has"
}

# Without FLUSH PRIVILEGES no statement about users is taken. What is cut off in the middle of a transaction is rolled back.
# The restored server's own log is numbered on: it never has a file of the name of one that was copied.
replay() {
    echo "FLUSH PRIVILEGES;"
    last=$(position "$1" | cut -f 1)
    if [ -n "$(logs "$1")" ]; then
        last=$(logs "$1" | tail -n 1)
        # shellcheck disable=SC2046 # a word for each file
        mariadb-binlog --no-defaults --disable-log-bin --start-position="$(position "$1" | cut -f 2)" $(logs "$1") ||
            say "the log of $1 ends within an act; all before it is there"
    fi
    printf 'DELIMITER ;\nROLLBACK;\nRESET MASTER TO %d;\n' "$(expr "${last##*.}" + 1)"
}

command=${1:-}
case $command in
    keep | full | check) [ $# -eq 2 ] || fail "database.sh $command DIR" ;;
    restore) [ $# -eq 3 ] || fail "database.sh restore SET DATADIR" ;;
    *) fail "database.sh keep | full | check | restore; its first lines say more" ;;
esac
shift
"$command" "$@"
