"""What the protos say beyond messages, read in one way by server, gateway and clients."""
