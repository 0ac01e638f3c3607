"""What those who run the service look up and set right, each with its audit record."""
