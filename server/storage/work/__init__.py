"""Work that is due, whatever table it is in."""
