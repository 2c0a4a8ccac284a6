#!/bin/sh
# Proves that the requester's secret arrived without showing it: writes a digest of it and of the task.
set -eu
printf '%s:%s' "$IEXEC_REQUESTER_SECRET_1" "$IEXEC_TASK_ID" | sha256sum | cut -d ' ' -f 1 >"$IEXEC_OUT/proof.txt"
printf '{"deterministic-output-path":"%s"}\n' "$IEXEC_OUT/proof.txt" >"$IEXEC_OUT/computed.json"
