"""What it costs to seal personal data, and what it costs those who have none."""
