"""What all stands on: errors, random numbers, files, hardware (imports nothing of ours)."""
