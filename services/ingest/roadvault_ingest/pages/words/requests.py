"""Words of requests."""

WORDS: dict[str, tuple[str, str]] = {
    "requests_open": ("open", "进行中"),
    "requests_failed": ("failed", "失败"),
    "requests_nobody": ("Nobody waits for a file.", "没有取回请求。"),
    "file": ("File", "文件"),
    "next_try": ("Next try", "下次尝试"),
    "batch": ("Batch", "批次"),
    "facts_of_request": ("What is known of it", "请求信息"),
    "brought_back": ("Brought back", "取回时间"),
    "called_back": ("Client called", "回调时间"),
    "link_until": ("Link good until", "链接有效期至"),
    "link": ("Link", "链接"),
    "clip": ("Clip", "片段"),
    "clip_of": ("clip {}", "片段 {}"),
    "download": ("Download", "下载"),
    "cancel": ("Cancel", "取消"),
    "cancel_done": ("The request is cancelled.", "请求已取消。"),
    "cancel_gone": (
        "Nothing to cancel: it has ended, or its client is being called just now.",
        "无法取消：请求已结束，或正在回调。",
    ),
    "events_none": ("Nothing was noted yet.", "暂无记录。"),
}
