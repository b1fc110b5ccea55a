"""Hard-negative training of encoders: data, negatives, losses and one recipe per method."""
