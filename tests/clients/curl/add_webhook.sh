. "${BILLING_VAR:-var}/dev.env"

curl -sS "$REST/v1/resellers/$RESELLER/webhooks" \
  -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
  -d '{
    "url": "http://127.0.0.1:'${PORT:-8000}'/",
    "types": ["customer.invited", "invitation.accepted", "invitation.declined"],
    "description": "Our books",
    "alertEmail": "ops@example.com"
  }'
