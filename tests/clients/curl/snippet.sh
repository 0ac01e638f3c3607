#!/usr/bin/env bash
set -euo pipefail

dev() { sed -n "s/^ *\"$1\": \"\(.*\)\",*$/\1/p" "${BILLING_VAR:-var}/dev.json"; }

curl --silent --show-error --fail-with-body --cacert "$(dev ca)" \
  -H "Authorization: Bearer $(dev token)" \
  -H "Content-Type: application/json" \
  -d '{"resellerId": "'"$(dev resellerId)"'", "name": "Horns and Hooves",
       "invitationEmail": "ostap-'"$RANDOM$RANDOM"'@example.com", "person": {"name": "Ostap"}}' \
  "$(dev rest_tls)/billing/v1/customers:invite"
