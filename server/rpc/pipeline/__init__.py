"""What every call goes through, one file a step, in the order of a call: see pipeline.py."""
