"""The reference guardrail of the sandbox: a gateway with rails in front of a router, and the classifier that it asks.

``gateway`` is an OpenAI-compatible proxy: it asks the ``classifier`` (a pod of its own) about each prompt, and about
each answer before its user sees it. Its switches are those that real gateways have, the unsafe ones included: what
happens when the classifier does not answer (``on-error``), and whether the fallback model has rails. So that failing
open can be seen, measured and mended. It is a reference for drills and no protection: the classifier is a list of
patterns.

Read in this order: ``rules``, ``classifier``, ``settings``, ``checker``, ``signals``, ``held``, ``upstream``,
``gateway``, ``main``.
"""
