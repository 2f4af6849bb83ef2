"""Rows that wait for somebody, and nobody is to come."""

from chaos.contents import Row


def archive(archive: Row, evidence: Row | None) -> list[str]:
    """Return what nobody will do for an archive that needs it."""
    stuck = []
    if archive["cid"] is None and archive["pin_due"] is None:
        stuck.append("no CID, and nobody will pin it")
    if archive["cid"] is not None and archive["order_due"] is None:
        stuck.append("nobody will renew its order")
    if archive["cid"] is not None and archive["watch_due"] is None:
        stuck.append("nobody watches its order")
    proven = evidence is not None and evidence["proven_at"] is not None
    if evidence is not None and not proven and archive["prove_due"] is None:
        stuck.append("enough replicas, and nobody will prove them")
    if proven and archive["path"] is not None and archive["drop_due"] is None:
        stuck.append("replicated, and nobody will drop it")
    return stuck


def request(request: Row) -> list[str]:
    """Return what nobody will do for a request that needs it."""
    needs = {0: "fetch", 1: "callback", 2: "expire"}.get(request["status"])
    if needs is not None and request[f"{needs}_due"] is None:
        return [f"status {request['status']}, and nobody will {needs} it"]
    if request["status"] == 3 and request["path"] is not None and request["expire_due"] is None:
        return ["failed, and nobody will remove its extraction"]
    return []
