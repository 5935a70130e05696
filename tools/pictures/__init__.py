"""Pictures of the editor and of the help pages."""
