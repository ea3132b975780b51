"""``sim``: a process-for-process stand-in for ``vllm serve``, failing as vLLM 0.32 was measured to fail.

::

    API server (the pod's first process)          main · lifecycle · http · routes · answers · engine_client · metrics
      └── VLLM::EngineCore                        engine_core · executor · scheduler · kv_cache
            └── VLLM::Worker, or _TP0, _TP1 …     worker · ring

The three kinds of process share nothing but sockets, so a signal to one of them has the effect that it has on vLLM.
Nothing here starts a thread or an event loop when it is imported: ``main`` may run in a process forked from a warm one.
"""
