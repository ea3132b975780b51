"""What drillbook talks about, as frozen typed values. Nothing here does I/O, and nothing here knows a cluster.

Read in this order: ``units`` (durations, rates, shares), ``expectation`` (the one-page grammar), ``experiment`` (the
YAML file), ``undo`` (undo as data), ``plan`` (what a run would do), ``events`` and ``request`` (what a run wrote down),
``history`` (an old or live journal, ready to be read), ``verdict`` (how it is judged).
"""
