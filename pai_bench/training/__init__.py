"""Train cells: the LightningModule, its callbacks and the Trainer (imports store and below)."""
