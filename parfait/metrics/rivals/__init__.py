"""What Parfait must beat: classical models under one signature."""
