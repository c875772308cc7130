"""What papers print, and the verdicts of results on it (imports launch and below)."""
