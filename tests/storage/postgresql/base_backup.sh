umask 077
pg_basebackup --dbname="$BILLING_DATABASE_URL" --pgdata="$BACKUPS/base" --checkpoint=fast
