"""Pure rules of the payments core: no clock, randomness or I/O."""
