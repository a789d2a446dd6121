"""Where gRPC's own services fail, callers and counts hear of it as everywhere."""
