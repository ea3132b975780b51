"""What the target's own Prometheus says. Bottom up: ``promql`` (which series a query reads), ``engines`` (the same
probe names over each engine's metrics, as data), ``queries`` (what an experiment asks), ``client``, ``preflight`` (does
every query answer?), ``probe`` (reads what was written down; pure). The live part is in ``probes/collectors``.
"""
