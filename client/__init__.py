"""`billing`: the command line of a reseller's staff. It speaks gRPC alone, as any other client does."""
