"""What a process says of itself: names.py (the schema), metrics.py, tracing.py, logs.py."""
