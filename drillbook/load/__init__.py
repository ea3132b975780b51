"""Open-loop load: requests leave when their schedule says so, whatever the server does, and every token is timed.

The generator is a process of its own (``worker``), so that neither the runner's work nor its death distorts what it
measures; ``process`` is the runner's handle on it. Inside, ``generator`` keeps the ``schedule`` and one ``exchange`` is
one request: ``sse`` splits its stream into events, ``heard`` gathers what they say, ``outcome`` says what the user got.
``client`` sends single requests for everyone else. ``slis`` turns records into the figures of users.
"""
