"""The command line: one file a command, each imported only when it is invoked, so ``drillbook --help`` stays instant.

``main`` is the door, ``commands`` the table of what there is, ``lazy`` the group that imports late, ``failures`` what a
person sees when something goes wrong. A command parses, calls the engine, prints; nothing is decided here.
"""
