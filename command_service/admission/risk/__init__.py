"""The check of risk before a payment is posted: whom to ask, and what to do without an answer."""
