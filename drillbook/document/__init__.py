"""YAML files as people write them: every value keeps its place, so that every problem can point at it.

``node`` is the tree with its places, ``scalars`` says what a plain word means (YAML 1.2, so ``on`` is a word and not
``true``), ``reading`` turns untrusted bytes into a tree. Nothing here constructs objects, and nothing here knows what
an experiment is: experiments, playbooks and probes are all read through this door.
"""
