"""ConfigMaps and Secrets that pods refer to: read afresh, or as last seen while the API server is away."""

from __future__ import annotations

from drillbook.sandbox.node.api import Api, ApiError, Json


class References:
    """A cache that is only used when nothing better is to be had, as the kubelet's."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._seen: dict[tuple[str, str, str], Json] = {}

    async def find(self, kind: str, namespace: str, name: str) -> Json | None:
        """``kind`` is the plural. None where it does not exist.

        :raises ApiError: the server is away, or refused, and the object was never seen.
        """
        key = (kind, namespace, name)
        try:
            self._seen[key] = await self._api.get(f"/api/v1/namespaces/{namespace}/{kind}/{name}")
        except ApiError as error:
            if error.status == 404:
                self._seen.pop(key, None)
                return None
            if key not in self._seen:
                raise
        return self._seen[key]
