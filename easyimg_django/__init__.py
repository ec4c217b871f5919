"""The Django app of easyimg: reads ``settings.EASYIMG`` and makes it the current EasyImg.

This release has the settings, rows in Django's own database, and Django's Jinja2 backend (through
``easyimg.jinja.install``). The template tag, hooks, admin and commands are not there yet.
"""
