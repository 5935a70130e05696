"""How the tests are run: what the default run leaves out, and as which processors."""
