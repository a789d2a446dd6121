"""Generated stubs of the signing service's contract."""
