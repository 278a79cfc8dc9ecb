"""One module per figure: `draw` takes axes and values, saves nothing; `figure` makes the axes."""
