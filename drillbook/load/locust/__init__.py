"""The same load through Locust, in one process or in its master and workers.

``process`` is the runner's handle; nothing there imports Locust or gevent, whose event loop stays out of the runner.
``worker`` is the process that sends: its main thread obeys and writes down as ``drillbook.load.worker`` does, a second
one belongs to gevent. There ``loop`` runs a Locust user that keeps our schedule, and ``exchange`` sends one request
over that user's connections. ``master`` is Locust's own, which starts the users and adds up the statistics.

``place`` says where they run: here, or in ``pods`` of the target's cluster. There each is a ``remote`` process, started
through exec, whose ``clocks`` were compared with the runner's.
"""
