mkdir -p "$BACKUPS/wal"
psql "$BILLING_DATABASE_URL" <<END
ALTER SYSTEM SET archive_mode = on;
ALTER SYSTEM SET archive_timeout = '1min';
ALTER SYSTEM SET archive_command = 'test ! -f "$BACKUPS/wal/%f" && cp "%p" "$BACKUPS/wal/%f.part" && sync "$BACKUPS/wal/%f.part" && mv "$BACKUPS/wal/%f.part" "$BACKUPS/wal/%f"';
END
