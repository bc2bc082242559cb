"""The Celery side: requests become Celery tasks named after their tools, and are answered by them."""
