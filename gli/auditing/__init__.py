"""What an audit saw, the attacks on it, and what follows from them."""
