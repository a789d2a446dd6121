"""How paycore is deployed: the embedded local stack, and files for real installations."""
