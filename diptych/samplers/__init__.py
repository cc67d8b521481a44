"""How canvases are filled: the loop, schedules, guidance, and conversations of text and images."""
