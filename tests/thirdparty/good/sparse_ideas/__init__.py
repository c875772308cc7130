"""Two methods, a network and a data set for PaI-Bench."""
