"""The service as seen by clients that were not made for it."""
