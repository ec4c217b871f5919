"""easyimg: responsive images for every Python web framework."""
