#!/bin/bash
# Do something once, when two people granted just that, from any language: rotate_key.sh SOCKET REQUEST KEY
# Asks the gate `keyturn gate local run` at its socket. Nothing but curl's status 0 is a yes: a no, an answer that breaks off, a gate
# that does not run or does not answer in time all end here, before anything is touched.
set -euo pipefail
SOCKET=$1 REQUEST=$2 KEY=$3

ask() { curl --silent --show-error --fail-with-body --max-time 90 --unix-socket "$SOCKET" "$@"; }

if ! SAID=$(ask --data-raw "$REQUEST" --header 'Content-Type: text/plain' http://gate/doors/rotate); then
  echo "not rotated: $SAID" >&2
  exit 1
fi
FRESH=$(mktemp "$KEY.XXXXXX")      # 0600
trap 'rm -f "$FRESH"' EXIT
head -c 32 /dev/urandom > "$FRESH"
if ! SAID=$(ask "http://gate/doors/rotate/$REQUEST"); then      # before what cannot be undone: does it still stand?
  echo "not rotated: $SAID" >&2
  exit 1
fi
ln -f "$KEY" "$KEY.before"
mv "$FRESH" "$KEY"
echo "rotated: $SAID"
