"""Management of a site: its commands."""
