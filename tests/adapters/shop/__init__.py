"""A Django app of a site, for the tests of easyimg_django."""
