"""Lists in pages, and the two groups under which events are read."""

from __future__ import annotations

MAPS = "/api/v1/namespaces/default/configmaps"


async def test_pages_of_a_selection_hold_each_object_once_and_end(api):
    for number in range(25):
        labels = {"app": "odd" if number % 2 else "even"}
        await api.post(MAPS, {"metadata": {"name": f"m-{number:02}", "labels": labels}})
    names, token, pages = [], "", 0
    while token or not pages:
        page = await api.get(MAPS, labelSelector="app=even", limit=4, **({"continue": token} if token else {}))
        names += [item["metadata"]["name"] for item in page["items"]]
        token, pages = page["metadata"].get("continue", ""), pages + 1
        assert "remainingItemCount" not in page["metadata"]  # nobody counts what a selector leaves
    assert names == [f"m-{number:02}" for number in range(0, 25, 2)]
    assert pages == 4


async def test_an_unselected_page_says_how_many_are_left(api):
    for number in range(5):
        await api.post(MAPS, {"metadata": {"name": f"m-{number}"}})
    page = await api.get(MAPS, limit=2)
    assert page["metadata"]["remainingItemCount"] == 3
    await api.delete(f"{MAPS}/m-2")  # the next page begins behind the last name, whatever has gone meanwhile
    rest = await api.get(MAPS, limit=10, **{"continue": page["metadata"]["continue"]})
    assert [item["metadata"]["name"] for item in rest["items"]] == ["m-3", "m-4"]


async def test_events_are_the_same_in_both_groups_under_their_own_names(api):
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started",
        "message": "Started container",
        "type": "Normal",
        "count": 3,
    }
    await api.post("/api/v1/namespaces/default/events", event)
    newer = await api.get("/apis/events.k8s.io/v1/namespaces/default/events/e")
    assert (newer["apiVersion"], newer["note"], newer["deprecatedCount"]) == (
        "events.k8s.io/v1",
        "Started container",
        3,
    )
    assert newer["regarding"]["name"] == "p"
    other = {"metadata": {"name": "f"}, "regarding": {"kind": "Pod", "name": "q"}, "note": "Hello", "reason": "Hi"}
    await api.post("/apis/events.k8s.io/v1/namespaces/default/events", other)
    stored = await api.get("/api/v1/namespaces/default/events/f")
    assert (stored["message"], stored["involvedObject"]["name"]) == ("Hello", "q")


async def test_every_pod_has_the_volume_of_its_token_unless_it_wants_none(api, make_pod):
    pods = "/api/v1/namespaces/default/pods"
    made = await api.post(pods, make_pod("a"))
    assert made["spec"]["volumes"][0]["name"].startswith("kube-api-access-")
    plain = make_pod("b")
    plain["spec"]["automountServiceAccountToken"] = False
    assert not (await api.post(pods, plain))["spec"].get("volumes")
