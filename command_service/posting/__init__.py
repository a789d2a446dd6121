"""The posting engine: queue, batches, and the transaction that writes them."""
