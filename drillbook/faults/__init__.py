"""Harm from below, one fault a module. Each plans with its undo as data, injects, and proves that it bit."""
