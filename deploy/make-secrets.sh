#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, each in a file of its own: deploy/make-secrets.sh
# One that is there stays as it is. One that stands in .env, where earlier versions had it, is taken from there: take it
# out of .env afterwards. MASTER_KEYS WRAP THE ARCHIVES' KEYS: without them no archive can be opened. Keep a copy apart.
set -eu
cd "$(dirname "$0")/.."
env_file=${ENV_FILE:-.env}

in_env_file() {
    [ -e "$env_file" ] || return 0
    sed -n "s/^[[:space:]]*$1=//p" "$env_file" | tail -n 1 | sed "s/^\"\(.*\)\"\$/\1/; s/^'\(.*\)'\$/\1/"
}

directory=${ROADVAULT_SECRETS_DIR:-$(in_env_file ROADVAULT_SECRETS_DIR)}
directory=${directory:-./secrets}
# Other users of this machine do not get into the directory; a container's user may read the file that is mounted for it.
mkdir -p "$directory"
chmod 700 "$directory"

# make NAME VARIABLE COMMAND...: COMMAND prints a fresh secret
make() {
    name=$1 variable=$2
    shift 2
    path=$directory/$name
    if [ -s "$path" ]; then
        echo "$path is there already"
        return
    fi
    value=$(in_env_file "$variable")
    from="taken from $variable in $env_file"
    if [ -z "$value" ]; then
        value=$("$@")
        from=made
    fi
    (umask 077 && printf '%s\n' "$value" >"$path.new")
    chmod 444 "$path.new"
    mv "$path.new" "$path"
    echo "$path: $from"
}

hexadecimal() { head -c 24 /dev/urandom | od -An -vtx1 | tr -d ' \n'; }
# The form of a Fernet key: 32 bytes in URL-safe base64.
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }

make database_password ROADVAULT_DATABASE_PASSWORD hexadecimal
make door_database_password ROADVAULT_DOOR_DATABASE_PASSWORD hexadecimal
make redis_password ROADVAULT_REDIS_PASSWORD hexadecimal
make master_keys ROADVAULT_MASTER_KEYS fernet
make callback_master_keys ROADVAULT_CALLBACK_MASTER_KEYS fernet
make link_secret ROADVAULT_LINK_SECRET hexadecimal
make view_secret ROADVAULT_VIEW_SECRET hexadecimal
make ipfs_rpc_token ROADVAULT_IPFS_RPC_TOKEN hexadecimal
make witness_rpc_token ROADVAULT_WITNESS_RPC_TOKEN hexadecimal
