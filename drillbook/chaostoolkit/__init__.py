"""Chaos Toolkit, both ways: its experiments run here, safely; drillbook's faults and probes are an extension of it.

A run reads in this order: ``load`` (the file, checked key by key), ``preflight`` (all that can be known before anything
is touched), ``run`` (hypothesis, method, rollbacks on every exit), ``journal`` (Chaos Toolkit's own form, whole at any
moment), ``judge`` (our verdicts, from that journal alone). ``guardian`` plays the rollbacks of a runner that died.
``extension`` and ``export`` lead the other way. None of it needs chaoslib, except inside Chaos Toolkit itself.
"""
