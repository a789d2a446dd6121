"""Messages in and out: each servicer validates, asks a reader, and translates the answer."""
