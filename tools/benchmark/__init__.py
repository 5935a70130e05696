"""What methods cost: overhead, full-size networks with random weights."""
