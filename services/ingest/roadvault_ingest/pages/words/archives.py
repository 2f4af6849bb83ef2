"""Words of archives."""

WORDS: dict[str, tuple[str, str]] = {
    "catalogue": ("Catalogue of all archives", "全部归档包的目录"),
    "catalogue_archives": ("archives:", "归档包数:"),
    "catalogue_made": ("made", "生成于"),
    "catalogue_none": ("none was published yet", "尚未发布"),
    "catalogue_row": ("Catalogue:", "归档目录:"),
    "find_archive": ("Find archive no.", "查找归档包编号"),
    "cid": ("CID", "CID"),
    "replicas": ("Replicas", "副本数"),
    "expires": ("Expires", "到期"),
    "expires_block": ("block", "区块"),
    "expires_none": ("not before the first replica", "首个副本产生后开始计算"),
    "local": ("Local copy", "本地副本"),
    "local_kept": ("kept", "保留"),
    "local_dropped": ("dropped", "已清理"),
    "packed_at": ("Packed", "打包时间"),
    "file_count": ("Files", "文件数"),
    "of": ("of more than", "需超过"),
}
