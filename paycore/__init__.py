"""What every process and every caller of paycore may import."""
