"""Rate limits of calls: by client, and by the address, user and device for whom a client acts."""
