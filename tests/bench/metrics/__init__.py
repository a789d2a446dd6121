"""What metrics cost a payment."""
