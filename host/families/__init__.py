"""What is known of a kind of network: its layers, where a picture's tokens are, how attention is reached."""
