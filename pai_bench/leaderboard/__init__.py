"""What the store holds, as people read it: statistics, terminal, HTML, Weights & Biases."""
