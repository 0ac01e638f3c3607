"""What a process tells of itself: metrics, logs, traces. Every room may use it."""
