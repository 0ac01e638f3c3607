"""What is kept on this machine: closed to its other users, locked, within a socket's length."""
