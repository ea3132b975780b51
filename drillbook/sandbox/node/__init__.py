"""The node agent: a kubelet whose pods are real processes, their network, and the Services in front of them.

Three processes share one start: the *agent* (asyncio: watches pods, keeps their status), the *runtime* (thread-free:
forks containers, reaps them, writes their logs) and the *proxy* (Services and DNS). All outlive the API server.
"""
