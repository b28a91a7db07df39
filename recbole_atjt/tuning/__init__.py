"""Better settings: trials of a search space, chosen by validation alone."""
