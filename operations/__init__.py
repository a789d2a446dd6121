"""Command-line tools and jobs around the services."""
