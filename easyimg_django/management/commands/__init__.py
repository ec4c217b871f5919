"""``manage.py easyimg`` and ``manage.py build_img_queue``."""
