"""What the template tags do; their names are in ``easyimg_django.templatetags.easyimg``.

Where the parts are: ``arguments`` what a tag was given, ``images`` the tags that show something, ``batches`` rendering
with one query, ``places`` where a token may stand for an image, ``renders`` whole templates, for the middleware.
"""
