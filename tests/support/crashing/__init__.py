"""The crash harness: load of all commands, faults by a seed, and a checker of its own."""
