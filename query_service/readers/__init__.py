"""Where answers come from: the port that servicers ask, and its adapters."""
