"""What `pytest bench` prints."""
