"""Where training and evaluation data come from: dataset readers and procedural worlds."""
