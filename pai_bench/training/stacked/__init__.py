"""Networks trained as one: their weights stacked, each with its own method, masks and optimizer."""
