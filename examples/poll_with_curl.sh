#!/bin/sh
# Ask for a price in a loop with nothing but sh and curl; a new token is used at the next turn.
#
#     sh examples/poll_with_curl.sh 'NSE_INDEX|Nifty 50' [TURNS]
set -u
instrument=$1
turns=${2:-0}
api=${UPSTOX_API_URL:-https://api.upstox.com}

while :; do
    # The token goes in by standard input: on the command line every user could read it.
    if token=$(upstox-token token --min-valid 10s); then
        printf 'header = "Authorization: Bearer %s"\n' "$token" |
            curl --silent --show-error --fail --max-time 15 --get --config - \
                --data-urlencode "instrument_key=$instrument" "$api/v3/market-quote/ltp" && echo
    else
        echo "No token (exit code $?)." >&2
    fi
    turns=$((turns - 1))
    [ "$turns" -ne 0 ] || exit 0
    sleep 5
done
