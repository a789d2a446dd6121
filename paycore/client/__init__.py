"""What callers of paycore use."""
