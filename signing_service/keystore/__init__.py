"""Where secret keys are: a port, and its adapters."""
