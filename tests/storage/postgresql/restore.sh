umask 077
pg_restore --exit-on-error --single-transaction --no-owner --dbname="$BILLING_DATABASE_URL" billing.dump
mkdir -p "${BILLING_KEYS:-$BILLING_VAR/keys}"
tar -C "${BILLING_KEYS:-$BILLING_VAR/keys}" -xf billing-keys.tar
billing-server check
