"""The report: one page of HTML with figures, pictures and sliders."""
