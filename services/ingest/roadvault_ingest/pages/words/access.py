"""Words of logging in, and of who did what."""

WORDS: dict[str, tuple[str, str]] = {
    "forbidden": ("You may not do this", "您没有此权限"),
    "forbidden_hint": (
        "It takes the role operator, or a token without limits. Whoever operates RoadVault can give it.",
        "需要操作员角色或不受限的令牌，请联系 RoadVault 的运维人员。",
    ),
    "log_in": ("Log in", "登录"),
    "log_out": ("Log out", "退出登录"),
    "logged_out": ("You are logged out.", "您已退出登录。"),
    "log_in_oidc": ("Log in with your organization's account", "使用单位账号登录"),
    "user_name": ("Name", "用户名"),
    "password": ("Password", "密码"),
    "login_wrong": ("The name or the password is wrong.", "用户名或密码错误。"),
    "login_refused": (
        (
            "The log-in was refused: your organization's account has no role here, or the log-in took too long. Try "
            "again, or ask whoever operates RoadVault."
        ),
        "登录被拒绝：您的单位账号在此没有角色，或登录超时。请重试，或联系 RoadVault 的运维人员。",
    ),
    "login_ended": (
        (
            "Your organization's log-in does not let you in here any more: you are logged out. Ask whoever operates "
            "RoadVault."
        ),
        "您的单位登录系统不再允许您访问此处，您已退出登录。请联系 RoadVault 的运维人员。",
    ),
    "login_away": (
        "Logging in is not possible right now. Try again in a moment.",
        "暂时无法登录，请稍后再试。",
    ),
    "login_too_many": (
        "Too many attempts. Try again in a quarter of an hour.",
        "尝试次数过多，请十五分钟后再试。",
    ),
    "audit": ("Who did what", "操作记录"),
    "audit_hint": (
        (
            "Log-ins, retries, receipts, tokens and accounts that were made or ended, attempts that were refused. "
            "Uploads and requests are in each file's custody log."
        ),
        "登录、重试、凭证、令牌和账号的创建与注销，以及被拒绝的访问。上传和取回请求见各文件的保管记录。",
    ),
    "who": ("Who", "操作者"),
    "who_token": ("token", "令牌"),
    "who_person": ("person", "人员"),
    "who_console": ("command line", "命令行"),
    "who_anybody": ("unknown", "未知"),
    "from_where": ("From", "来源地址"),
    "on_what": ("On what", "对象"),
    "outcome": ("Outcome", "结果"),
    "ended_done": ("done", "完成"),
    "ended_it had not failed": ("it had not failed", "任务并未失败"),
    "ended_nothing to pin": ("nothing to pin", "没有可上传的内容"),
    "ended_it was not open, or being called back": (
        "it was not open, or being called back",
        "请求已结束，或正在回调",
    ),
    "times": ("Times", "次数"),
    "newest": ("← Newest", "← 最新"),
    "did_log in": ("logged in", "登录"),
    "did_log out": ("logged out", "退出登录"),
    "did_refused": ("was refused", "被拒绝"),
    "did_retry": ("retried", "重试"),
    "did_receipt": ("took a receipt", "下载凭证"),
    "did_token created": ("made a token", "创建令牌"),
    "did_token revoked": ("revoked a token", "吊销令牌"),
    "did_callback key rotated": ("gave a token another callback key", "更换令牌的回调密钥"),
    "did_user added": ("made an account", "创建账号"),
    "did_user removed": ("removed an account", "删除账号"),
    "did_password changed": ("changed a password", "修改密码"),
    "did_role changed": ("changed a role", "更改角色"),
    "did_given up": ("gave up", "放弃"),
    "did_store drained": ("drained a store", "清空存储点"),
    "did_store opened": ("opened a store again", "重新启用存储点"),
    "did_store lost": ("wrote off a store", "登记存储点丢失"),
    "did_store adopted": ("took a store back", "恢复存储点"),
    "did_hold": ("put on hold", "设置保留"),
    "did_released": ("lifted a hold", "解除保留"),
    "did_pin again": ("pinned again", "重新上传 IPFS"),
    "did_cancel": ("cancelled a request", "取消请求"),
}
