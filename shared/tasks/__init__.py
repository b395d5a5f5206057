"""What a task is, declared once, and the catalogue of them."""
