"""A flight simulator that speaks Kubernetes: a control plane, nodes and engines on one machine, from pip alone.

``lifecycle`` brings a sandbox up and takes it down. ``control`` is the API server with its controllers, ``node`` the
kubelet, the pods' runtime and network, ``engine`` the ``sim`` engine that stands in for vLLM. Pods are real processes;
``docs/sandbox.md`` says what is simulated, and what is missing.
"""
