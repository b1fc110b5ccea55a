"""How a model becomes a better one: data, models and a method meet the trainer, once or in several rounds."""
