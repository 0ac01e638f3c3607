"""Who is calling, and who may do what."""
