"""The command ``gli``: one module for each of its commands."""
