"""The three ways in which an activity acts: HTTP requests, processes, Python functions. Each ends within its time."""
