#!/bin/sh
# Send one delivery to a webhook receiver:  send.sh URL BODY
# TOKGRAFT_WEBHOOK_SECRET comes from the environment, and appears in no argument.
set -eu
url=$1 body=$2
timestamp=$(date +%s)
signature=$(printf '%s.%s' "$timestamp" "$body" |
  python3 -c 'import hashlib, hmac, os, sys
key = os.environ["TOKGRAFT_WEBHOOK_SECRET"].encode()
print(hmac.new(key, sys.stdin.buffer.read(), hashlib.sha256).hexdigest())')
# 409 says that this id came before, and so that its run is on its way: retries are safe.
answer=$(printf '%s' "$body" | curl --silent --show-error --retry 5 --retry-connrefused \
  --write-out '\n%{http_code}' \
  --header "Tokgraft-Timestamp: $timestamp" --header "Tokgraft-Signature: sha256=$signature" \
  --header 'Content-Type: application/json' --data-binary @- "$url/deliveries")
status=$(printf '%s' "$answer" | tail -n 1)
printf '%s\n' "$answer" | sed '$d'
[ "$status" = 202 ] || [ "$status" = 409 ]
