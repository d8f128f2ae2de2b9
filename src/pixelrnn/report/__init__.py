"""Reports on a model: sheets of images, and an HTML page with figures and images."""
