"""What is shown of a model: sheets of pictures, and a page with figures and pictures."""
