"""What is named and found: declarations read, loaded when asked for (imports config and below)."""
