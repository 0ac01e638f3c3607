"""What the service is about, in plain Python: no gRPC, no SQL, no clock of its own."""
