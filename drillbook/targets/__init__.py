"""A live deployment as drillbook sees it: the Kubernetes API (``Kube``), a serving stack's labels, one ``Target``."""
