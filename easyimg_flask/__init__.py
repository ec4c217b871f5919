"""The Flask extension of easyimg."""
