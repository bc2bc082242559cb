"""The Tasks extension (SEP-2663), served by Celery: a call that outlives its request, kept in the result backend."""
