"""What the Trainer does around a method, one job each: masks, curves, clocks, progress."""
