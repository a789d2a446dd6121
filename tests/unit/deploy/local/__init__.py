"""Unit tests of deploy.local."""
