"""The query service: answers history and analytics from the index, and never writes."""
