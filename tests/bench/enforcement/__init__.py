"""What it costs that the tables themselves let only transfers change balances."""
