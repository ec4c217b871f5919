"""Pixel libraries behind the Engine port. Importing this package loads none of them."""
