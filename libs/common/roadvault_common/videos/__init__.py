"""What was found in videos, and their pictures, for whoever shows them."""
