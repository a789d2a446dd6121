"""A second, naive ledger, written from the design and not from the code.

It keeps nothing but the list of what has happened and recomputes everything from it, slowly. Where
the two disagree, one of them is wrong. It knows accounts and transfers by numbers of its own, and
nothing of batches, locks or rows.
"""
