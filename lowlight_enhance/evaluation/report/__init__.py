"""What an evaluation found, as one HTML page that needs nothing else: content, figures, plots, page."""
