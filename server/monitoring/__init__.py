"""What those who watch over a process ask it: metrics and health, at a port of their own."""
