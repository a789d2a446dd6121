"""Webhooks: who is told of what, under which secret, and what becomes of deliveries."""
