"""Commands, and what task runners call."""
