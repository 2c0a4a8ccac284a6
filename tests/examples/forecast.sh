#!/bin/sh
# Asks an HTTP API that knows the developer's key alone, about a place that is confidential to the requester.
#
#   arguments           the address of the API
#   app secret          the key of the API, which nobody who runs or buys the app gets to see
#   requester secret 1  the place
#
# Both go to curl over a pipe: arguments of a process can be seen from outside of it.
set -eu
api=$1
key=$IEXEC_APP_DEVELOPER_SECRET
place=$IEXEC_REQUESTER_SECRET_1
answer=$IEXEC_OUT/forecast.json
printf 'header = "Authorization: Bearer %s"\ndata-urlencode = "place=%s"\n' \
    "$key" "$place" |
    curl --silent --show-error --fail --max-time 20 --get --config - --output "$answer" "$api"
printf '{"deterministic-output-path":"%s"}\n' "$answer" >"$IEXEC_OUT/computed.json"
