"""Load by ghz: a configuration of each method of the command and query services, and what makes
them ready to run against a stack."""
