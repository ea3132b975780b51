"""The sandbox's control plane: a Kubernetes API server and its controllers in one asyncio process.

Bottom up: ``objects``, ``times``, ``quantity``, ``statuses`` and ``selectors`` are vocabulary; ``kinds`` says which
kinds there are (as data); ``store`` keeps objects and their history, ``database`` keeps them over a ``kill -9``;
``registry`` is what an API server does to an object between request and store; ``server`` and its neighbours speak
HTTP; the ``controllers`` react to changes of the store, in this process and without HTTP. The only way in or out of the
process is the Kubernetes API: the node agent is one more client of it.
"""
