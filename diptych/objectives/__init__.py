"""What a slot of a canvas is: how it is blank, drawn, spoilt for training and judged."""
