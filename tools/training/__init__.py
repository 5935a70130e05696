"""How the miniature was made, stage by stage; tools/train_miniature.py runs it."""
