"""Commands for those who work on paycore."""
