"""The REST side: Envoy as gRPC-JSON transcoder, configured from the protos' own annotations."""
