"""Published weights and ours: names declared as data, files read safely, both ways."""
