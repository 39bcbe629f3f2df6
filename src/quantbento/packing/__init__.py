"""From the model store to Bentos, images, and what runs them."""
