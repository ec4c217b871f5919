"""The Django app of easyimg: reads ``settings.EASYIMG`` and makes it the current EasyImg.

This release has the settings, rows in Django's own database, the template tags, and Django's Jinja2 backend. Hooks,
admin and commands are not there yet.
"""
