"""Operations: read, ended, cancelled and deleted."""
