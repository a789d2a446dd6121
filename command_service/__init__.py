"""The command service: accepts commands, decides, posts; the only writer of money."""
