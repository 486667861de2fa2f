#!/bin/sh
# Bring Temporal's two databases up to the schema of this version of the admin tools; safe to repeat.
# The databases themselves are made by postgres-init.sh, so that Temporal's role need not be able to.
set -eu

: "${POSTGRES_SEEDS:?}" "${POSTGRES_USER:?}" "${SQL_PASSWORD:?}"
versions=/etc/temporal/schema/postgresql/v12

sql_tool() {
    database=$1
    shift
    temporal-sql-tool --plugin postgres12 --ep "$POSTGRES_SEEDS" -p 5432 -u "$POSTGRES_USER" \
        --db "$database" "$@"
}

for pair in temporal:temporal temporal_visibility:visibility; do
    sql_tool "${pair%%:*}" setup-schema -v 0.0
    sql_tool "${pair%%:*}" update-schema -d "$versions/${pair##*:}/versioned"
done
