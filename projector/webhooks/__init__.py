"""Telling clients of events over HTTP: what is told, to whom, when, and how it is sent."""
