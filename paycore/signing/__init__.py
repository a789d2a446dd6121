"""Generated stubs of the signing service."""
