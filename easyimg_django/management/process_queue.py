"""What a task runner calls: ``process_queue()`` builds everything that is due."""

from easyimg.maintain import process_queue

__all__ = ["process_queue"]
