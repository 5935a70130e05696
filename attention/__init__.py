"""What an edit does to hidden states, queries, keys, values and logits. torch only."""
