"""The controllers: each makes one noun true.

They read the store, write through the registry, and hear of every change in this process, without HTTP and without
polling; only what a real controller also does by the clock has a timer.
"""
