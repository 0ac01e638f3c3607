umask 077
pg_dump --format=custom --file=billing.dump "$BILLING_DATABASE_URL"
tar -C "${BILLING_KEYS:-$BILLING_VAR/keys}" -cf billing-keys.tar iam
