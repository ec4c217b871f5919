"""The Django app of easyimg: reads ``settings.EASYIMG`` and makes it the current EasyImg.

This release has the settings, rows in Django's own database, hooks for the files of models, Django's storages, and
Django's Jinja2 backend (through ``easyimg.jinja.install``). The template tag, admin and commands are not there yet.
"""
