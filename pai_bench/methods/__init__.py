"""What a method overrides, and the suite that checks it (imports training and below)."""
