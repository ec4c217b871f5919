"""Places where bytes live, behind the Storage port."""
