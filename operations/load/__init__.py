"""Load: accounts to move money between, random transfers, and workers that send them."""
