"""Contract tests for every port, and small generated pictures, for those who extend easyimg."""
