"""Every small change of the rules of money, one at a time, against the tests that should see it."""
