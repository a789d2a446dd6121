"""Translation between messages and domain commands, one servicer a file."""
