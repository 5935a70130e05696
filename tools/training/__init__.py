"""How the miniature was made, stage by stage; `python tools train_miniature` runs it."""
