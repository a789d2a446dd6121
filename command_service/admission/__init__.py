"""What is settled before a command reaches the queue: rules, limits, step-up."""
