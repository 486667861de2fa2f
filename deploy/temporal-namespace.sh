#!/bin/sh
# Create the namespace and the search attributes that are not there yet; safe to repeat.
# SEARCH_ATTRIBUTES is a list of Name=Type, held against infra/search_attributes.py by a test.
set -eu

: "${TEMPORAL_ADDRESS:?}" "${NAMESPACE:?}" "${RETENTION:?}" "${SEARCH_ATTRIBUTES:?}"

operator() {
    temporal operator "$@" --address "$TEMPORAL_ADDRESS" --command-timeout 20s
}

attempts=60
until operator cluster health >/dev/null 2>&1; do
    attempts=$((attempts - 1))
    if [ "$attempts" -le 0 ]; then
        echo "Temporal at $TEMPORAL_ADDRESS does not answer." >&2
        exit 1
    fi
    sleep 1
done

if ! operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1; then
    operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"
fi

# A new namespace reaches the server's own caches after some seconds.
attempts=30
until known=$(operator search-attribute list --namespace "$NAMESPACE" 2>/dev/null); do
    attempts=$((attempts - 1))
    if [ "$attempts" -le 0 ]; then
        echo "Namespace $NAMESPACE does not become visible." >&2
        exit 1
    fi
    sleep 1
done

for attribute in $SEARCH_ATTRIBUTES; do
    if ! echo "$known" | grep -qw "${attribute%%=*}"; then
        operator search-attribute create --namespace "$NAMESPACE" \
            --name "${attribute%%=*}" --type "${attribute##*=}"
    fi
done
