"""Training the networks of a bundle together, each with its own method, masks and optimizer."""
