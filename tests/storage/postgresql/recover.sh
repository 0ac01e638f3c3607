umask 077
cp -R "$BACKUPS/base" "$PGDATA"
cat >>"$PGDATA/postgresql.auto.conf" <<END
restore_command = 'cp "$BACKUPS/wal/%f" "%p"'
recovery_target_time = '$WHEN'
recovery_target_action = promote
END
touch "$PGDATA/recovery.signal"
pg_ctl --log="$BACKUPS/recovery.log" --wait --timeout=3600 start
until [ "$(psql "$BILLING_DATABASE_URL" -Atc 'SELECT pg_is_in_recovery()')" = f ]; do sleep 1; done
for setting in restore_command recovery_target_time recovery_target_action; do
  psql "$BILLING_DATABASE_URL" -qc "ALTER SYSTEM RESET $setting"
done
