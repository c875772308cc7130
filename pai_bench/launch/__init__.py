"""Where networks are trained: launchers, and the run of a suite (imports methods and below)."""
