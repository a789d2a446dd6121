"""The readers' port on Elasticsearch."""
