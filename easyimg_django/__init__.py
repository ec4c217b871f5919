"""The Django app of easyimg: reads ``settings.EASYIMG`` and makes it the current EasyImg.

This release has the settings and Django's Jinja2 backend (through ``easyimg.jinja.install``). The template tag, rows in
Django's own database, hooks, admin and commands are not there yet.
"""
