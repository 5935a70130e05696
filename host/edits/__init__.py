"""One file per edit: what it reads of streams, and what it changes."""
