"""Ways to ask for a build, behind the BuildQueue port."""
