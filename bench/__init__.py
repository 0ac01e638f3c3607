"""Measures the service beside baselines, in the same run, on this machine: `make bench`."""
