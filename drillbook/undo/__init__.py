"""Putting the target back, whatever happened to whoever broke it: record, Lease, operations, watchdog, recover.

``record`` keeps what must be undone, at the target and in the run folder, and fences injection; ``lease`` is the
heartbeat and keeps runs apart; ``operations`` carries out one undo operation; ``undo`` all of a record's, ``recover``
those of every record that is found; ``watchdog`` does so when the runner no longer can, and ``keeper`` is the runner's
end of it.
"""
