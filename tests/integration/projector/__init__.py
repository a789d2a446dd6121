"""The projector on real PostgreSQL and Elasticsearch."""
