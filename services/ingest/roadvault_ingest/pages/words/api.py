"""What the page of the API says."""

WORDS: dict[str, tuple[str, str]] = {
    "api": ("API", "接口"),
    "api_intro": (
        (
            "Every answer is JSON with `code` and `status`, 0 for success. An error has the HTTP status as both, a "
            "word `error` that never changes, and a `message`. architecture/http-api.md says what exactly is taken."
        ),
        (
            "每个响应都是 JSON，含 `code` 与 `status`，成功时为 0。出错时两者均为 HTTP 状态码，"
            "另有永不改变的代码词 `error` 和说明 `message`。确切接受的内容见 architecture/http-api.md。"
        ),
    ),
    "api_in_english": ("What each field and answer means is said in English.", "各操作、字段和响应的说明为英文。"),
    "api_document_link": ("The same as OpenAPI 3.1", "同样内容的 OpenAPI 3.1 文档"),
    "api_parameters": ("Parameters", "参数"),
    "api_body": ("Body", "请求体"),
    "api_answers": ("Answers", "响应"),
    "api_callbacks": ("Called back", "回调"),
    "api_objects": ("Objects", "对象"),
    "api_errors": ("Errors", "错误"),
    "api_errors_hint": (
        "An error's word never changes; its message may.",
        "错误代码词永不改变；说明文字可能改变。",
    ),
    "api_word": ("Word", "代码词"),
    "api_status": ("Status", "状态码"),
    "api_meaning": ("Meaning", "含义"),
    "api_name": ("Name", "名称"),
    "api_where": ("Where", "位置"),
    "api_type": ("Type", "类型"),
    "api_needed": ("needed", "必填"),
    "api_tag_upload": ("Uploading", "上传"),
    "api_tag_resumable": ("Uploads that go on where they stopped (tus)", "断点续传（tus）"),
    "api_tag_request": ("Asking for files", "取回文件"),
    "api_tag_ask": ("What is known of files", "查询"),
    "api_tag_link": ("Links", "下载链接"),
    "api_upload": ("Upload a file with a form", "用表单上传文件"),
    "api_putUpload": ("Upload a file as it is", "直接上传文件"),
    "api_postUpload": ("The same, for what can only POST", "同上，供只能用 POST 的客户端"),
    "api_tusOptions": ("What is understood", "支持哪些功能"),
    "api_tusBegin": ("Begin an upload", "开始上传"),
    "api_tusOptionsOfOne": ("What is understood, asked at an upload", "支持哪些功能（在某次上传处询问）"),
    "api_tusHead": ("Where an upload goes on", "上传从哪里继续"),
    "api_uploadState": ("How an upload stands", "上传的状态"),
    "api_tusPatch": ("Go on with an upload", "继续上传"),
    "api_tusPatchByPost": ("The same, for what can only POST", "同上，供只能用 POST 的客户端"),
    "api_tusDelete": ("Give an upload up", "放弃上传"),
    "api_downFile": ("Ask for a file", "取回一个文件"),
    "api_downFiles": ("Ask for many files", "取回多个文件"),
    "api_batch": ("How a batch stands", "批次的状态"),
    "api_cancelBatch": ("Cancel a batch", "取消批次"),
    "api_fileReady": ("A file is there", "文件已就绪"),
    "api_batchEnded": ("A batch has ended", "批次已结束"),
    "api_listFiles": ("List files", "列出文件"),
    "api_file": ("Where a file stands", "文件的状态"),
    "api_custody": ("What was done to a file", "文件的保管记录"),
    "api_receipt": ("A file's receipt", "文件的凭证"),
    "api_document": ("This document", "本文档"),
    "api_link": ("Follow a link", "通过链接下载"),
    "api_linkHead": ("What a link would bring", "链接指向什么"),
}
