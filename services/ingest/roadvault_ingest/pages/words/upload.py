"""Words of the page that takes files."""

WORDS: dict[str, tuple[str, str]] = {
    "upload": ("Upload", "上传"),
    "upload_hint": (
        "Files go into the archive as they are: they are kept for years and can't be deleted here.",
        "文件将原样归档：保存多年，此处无法删除。",
    ),
    "up_drop": ("Drop files or a folder here", "将文件或文件夹拖放到此处"),
    "up_file": ("File", "文件"),
    "up_files": ("Choose files", "选择文件"),
    "up_folder": ("Choose a folder", "选择文件夹"),
    "up_facts": ("What is known of these files", "文件信息"),
    "up_facts_hint": ("Optional; it goes with all files that you send.", "选填；适用于本次上传的所有文件。"),
    "up_recorded": ("Recorded at", "录制时间"),
    "up_tags": ("Tags, divided by commas", "标签（以逗号分隔）"),
    "up_send": ("Upload", "上传"),
    "up_queue": ("Queue", "上传队列"),
    "up_taken": ("The file was taken.", "文件已接收。"),
    "up_pause_all": ("Pause all", "全部暂停"),
    "up_go_on_all": ("Continue all", "全部继续"),
    "up_clear": ("Take away what is done", "清除已完成"),
    "up_progress": ("Progress", "进度"),
    "up_forget": ("Give them up", "放弃这些上传"),
    "up_start": ("Upload {} file ({})|Upload {} files ({})", "上传 {} 个文件（{}）"),
    "up_ready": ("ready", "待上传"),
    "up_queued": ("waits for its turn", "排队等待"),
    "up_sending": ("uploading", "正在上传"),
    "up_waiting": ("connection lost; tries again by itself", "连接中断，将自动重试"),
    "up_waiting_busy": ("the server is busy; tries again by itself", "服务器繁忙，将自动重试"),
    "up_waiting_full": ("the server's disk is full; tries again by itself", "服务器磁盘已满，将自动重试"),
    "up_paused": ("paused", "已暂停"),
    "up_checking": ("has come; SHA-256 is being compared", "已传完，正在核对 SHA-256"),
    "up_done": ("received; SHA-256 is the same", "已接收，SHA-256 一致"),
    "up_differs": (
        "The server has other bytes than this file. Keep the file, and tell the operator.",
        "服务器收到的内容与此文件不一致。请保留原文件并联系管理员。",
    ),
    "up_unread": (
        "This file can't be read any more: it was changed or moved.",
        "无法再读取此文件：文件已被修改或移动。",
    ),
    "up_empty": ("This file is empty; empty files are not taken.", "此文件为空，不接收空文件。"),
    "up_large": ("This file is too large; the largest that is taken has {}.", "此文件过大，最大可接收 {}。"),
    "up_login": ("You are logged out. Log in, then continue.", "您已退出登录。请登录后继续。"),
    "up_forbidden": ("You may not upload this.", "您没有上传权限。"),
    "up_refused": ("Not taken", "未接收"),
    "up_pause": ("Pause", "暂停"),
    "up_go_on": ("Continue", "继续"),
    "up_again": ("Try again", "重试"),
    "up_cancel": ("Cancel", "取消"),
    "up_remove": ("Remove", "移除"),
    "up_is_file": ("File {}", "文件 {}"),
    "up_left": ("{} left", "剩余 {}"),
    "up_of": ("{} of {}", "{} / {}"),
    "up_all": ("{} of {} files", "{} / {} 个文件"),
    "up_all_done": ("All files were received: {}", "全部文件已接收：{}"),
    "up_twice": ("Already in the queue: {}", "已在队列中：{}"),
    "up_before": (
        (
            "{} upload is unfinished from before: choose the same file again and it goes on where it stopped.|"
            "{} uploads are unfinished from before: choose the same files again and they go on where they stopped."
        ),
        "有 {} 个上传尚未完成：重新选择相同的文件即可从中断处继续。",
    ),
}

QUEUE = (*(key for key in WORDS if key.startswith("up_")), "span_h", "span_min", "span_s")
"""What the queue's script says."""
