"""The Django app of easyimg."""
