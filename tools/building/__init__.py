"""Workflows and blueprints from their descriptions; the snapshot of schemas that saved workflows depend on."""
