"""Words of the first page."""

WORDS: dict[str, tuple[str, str]] = {
    "upload": ("Upload a test file", "上传测试文件"),
    "upload_hint": (
        "The file goes into the archive like any other: it is kept for years and can't be deleted here.",
        "上传的文件与其他文件一样进入归档：将保存多年，此处无法删除。",
    ),
    "choose": ("File", "文件"),
    "send": ("Upload", "上传"),
    "sent": ("Taken: file number", "已接收，文件编号"),
    "sending": ("uploading", "正在上传"),
    "send_failed": ("Not taken", "未接收"),
    "attention": ("Needs attention", "需要处理"),
    "attention_none": ("Nothing: no work has failed.", "没有：当前没有失败的任务。"),
    "attention_more": ("more", "更多"),
    "retry": ("Retry", "重试"),
    "retry_done": ("Begun anew; the row is due now.", "已重新开始，将立即处理。"),
    "retry_gone": ("Nothing to retry: it no longer counts as failed.", "无需重试：该任务已不在失败状态。"),
    "left_out": ("Archives that a recovery left out", "恢复时未能取回的归档包"),
    "left_out_hint": (
        (
            "Nobody renews their orders; as long as a part of the old catalogue is unread no new one is published. "
            "Try again, or give them up:"
        ),
        "这些归档包的订单无人续期；旧目录仍有部分无法读取时，不会发布新目录。请重试恢复，或确认放弃：",
    ),
    "left_out_catalogue": ("catalogue", "目录"),
    "left_out_copy": ("local copy", "本地副本"),
    "left_out_log": ("custody log", "保管记录"),
    "left_out_segment": ("segment", "目录分段"),
    "stopped": ("Clean-up has stopped and asks", "清理已停止，等待人工确认"),
    "stopped_hint": (
        "Many files are named by no row: perhaps the rows are wrong. Nothing was moved. To decide:",
        "没有数据库记录的文件异常多，可能是数据库有误；未移动任何文件。请用以下命令处理：",
    ),
    "stopped_directory": ("Directory", "目录"),
    "stopped_files": ("Unnamed files", "无记录文件数"),
    "stopped_seen": ("Files there", "目录内文件数"),
    "away": ("Away, and waited for", "不可用，正在等待恢复"),
    "away_hint": (
        "Work that needs it rests; no attempt is counted. It goes on by itself once this is there again.",
        "依赖它的工作暂停，不计为失败；恢复后将自动继续。",
    ),
    "away_what": ("What is away", "不可用的部分"),
    "away_who": ("Whose work waits", "受影响的服务"),
    "domain_database": ("The database", "数据库"),
    "domain_redis": (
        "Redis (events; sweeps do the work meanwhile, slower)",
        "Redis（事件；其间由定时扫描处理，速度较慢）",
    ),
    "domain_ipfs": ("The IPFS node", "IPFS 节点"),
    "domain_ipfs disk": ("Room on the disk of an IPFS node", "IPFS 节点的磁盘空间"),
    "domain_network": ("The IPFS network: our node has no peer", "IPFS 网络：本节点没有任何对等节点"),
    "domain_market": ("The storage market", "存储市场"),
    "domain_disk": ("Room on the disk", "磁盘空间"),
    "domain_callback host": ("The host of a client", "客户端主机"),
    "audits": ("Archives whose last audit found something wrong", "最近一次抽查发现问题的归档包"),
    "audits_hint": (
        "Each is fetched back, ordered again or mended by itself, then audited anew: what holds that up?",
        "系统会自动取回、重新下单或修复，并再次抽查；请检查是什么阻碍了修复。",
    ),
    "audit_place": ("Where", "位置"),
    "place_network": ("the network", "网络"),
    "place_local": ("here", "本地"),
    "audited": ("Audited", "抽查时间"),
    "audit_sound": ("Last found whole", "最近一次完好"),
    "aside": ("Uploads that rotted before they were packed", "打包前已损坏的上传文件"),
    "aside_hint": (
        "Set aside; the others of their folders are packed. To decide, once the bytes are back or lost:",
        "这些文件已单独搁置，同一文件夹的其他文件照常打包。恢复原始数据或确认丢失后，请用以下命令处理：",
    ),
    "waiting": ("Waiting for the network", "等待网络副本"),
    "waiting_hint": (
        "On IPFS for days, not yet proven on the network; local copies stay.",
        "已上传 IPFS 多日，尚未在网络上得到验证；本地副本继续保留。",
    ),
    "work": ("Work in hand", "进行中的工作"),
    "due": ("Rows due now", "当前待处理"),
    "stage_pack": ("Packing a folder", "打包文件夹"),
    "stage_pin": ("Putting an archive on IPFS", "归档包上传 IPFS"),
    "stage_drop": ("Dropping local copies", "清理本地副本"),
    "stage_order": ("Ordering storage", "购买存储"),
    "stage_watch": ("Looking at an archive on the market", "查看归档包在存储市场的状态"),
    "stage_prove": ("Proving the network's copy", "验证网络副本"),
    "stage_restore": ("Fetching an archive back", "从网络取回归档包"),
    "stage_audit": ("Auditing the network's copy", "抽查网络副本"),
    "stage_inspect": ("Inspecting what is kept here", "检查本地副本"),
    "stage_fetch": ("Bringing a file back", "取回文件"),
    "stage_callback": ("Calling a client back", "回调客户端"),
    "stage_expire": ("Removing an extraction", "清理已取回文件"),
    "stage_shred": ("Ending an archive", "归档包到期销毁"),
    "stage_ask": ("Asking for the files of a batch", "请求批次中的文件"),
    "stage_report": ("Telling a client that its batch has ended", "告知客户端批次已结束"),
    "ends_ask": (
        "Archives are over, and none ends before somebody allows it",
        "有归档包已到期，须人工确认后才会销毁",
    ),
    "ends_ask_archives": ("Archives whose time is over", "已到期的归档包"),
    "ends_ask_periods": (
        "period keys that open nothing here, and go, too",
        "本库已无归档包需要、将一并销毁的期间密钥",
    ),
    "ends_ask_doubt": (
        "The database was accepted or recovered; it may lack holds, and ends that were moved. Since:",
        "数据库经过接受或恢复，可能缺少保留标记和改过的期限。时间：",
    ),
    "ends_ask_hint": (
        "Nothing was destroyed. To look at ends and holds, and to decide:",
        "尚未销毁任何内容。请查看期限与保留，然后决定：",
    ),
    "ends": ("Ends soon", "即将到期"),
    "ends_hint": (
        "Their keys are destroyed then, for good; nothing has to be done. To keep one longer:",
        "到期后密钥将永久销毁，无需人工处理。如需延长保存：",
    ),
    "ends_at": ("Ends", "保存期限"),
    "on_hold": ("On hold", "保留中"),
    "on_hold_hint": ("It is kept past its end until it is released.", "解除保留之前，到期也不会销毁。"),
    "destroyed": ("Period keys that were destroyed", "已销毁的期间密钥"),
    "destroyed_hint": (
        (
            "What is on the network of their archives opens no more, but with a copy of these keys: destroy recovery "
            "sheets from before, old keyring files on disks that were not mounted, and backups and binary logs of "
            "the database from before. Print a new recovery sheet first."
        ),
        (
            "网络上相应的归档包已无法打开，除非有人持有这些密钥的副本。请先打印新的恢复单，然后销毁此前的恢复单、当时"
            "未挂载磁盘上的旧密钥环文件，以及数据库此前的备份和二进制日志。"
        ),
    ),
    "retry_all": ("Retry all", "全部重试"),
    "retry_all_done": ("Begun anew; the rows are due now.", "已全部重新开始，将立即处理。"),
}
