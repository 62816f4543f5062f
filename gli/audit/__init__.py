"""What an audit saw, and what follows from it."""
