"""What methods cost: a comparison with the papers' procedures, full-size networks with random weights."""
