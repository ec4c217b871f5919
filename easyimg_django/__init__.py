"""The Django app of easyimg: reads ``settings.EASYIMG`` and makes it the current EasyImg.

Rows in the site's own database, its storages, hooks for the files of its models, template tags, the admin, commands and
system checks.
"""
