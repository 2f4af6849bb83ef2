"""What a sheet says, in English and Chinese; `{…}` are filled in."""

TEXTS = {
    "title": ("RoadVault recovery sheet", "RoadVault 恢复单"),
    "made": ("Made on {made} (UTC)", "制作日期：{made}（UTC）"),
    "keys": (
        (
            "Whoever has this page can open every archive. Print it where no copy is kept, remove the file, and keep"
            " the paper in a safe, apart from the machine."
        ),
        "持有此页者可以打开所有归档。请在不留存副本的打印机上打印，随后删除文件，并将此页与机器分开，存放在保险柜中。",
    ),
    "share": (
        (
            "Share {share.number} of {share.shares} of the master key {key_id}. Any {share.threshold} of them give the"
            " key; fewer tell nothing of it. Leave them to different people, in different places."
        ),
        (
            "主密钥 {key_id} 的第 {share.number} 份，共 {share.shares} 份。任意 {share.threshold} 份即可还原主密钥，"
            "不足 {share.threshold} 份则得不到任何信息。请由不同的人在不同的地点保管。"
        ),
    ),
    "set": (
        (
            "Set {share.set}: only shares of one set fit together. Each print makes another set, and the older ones"
            " still work: destroy them."
        ),
        "第 {share.set} 组：只有同一组的各份才能合并。每次打印都会生成新的一组，旧的一组仍然有效，请予销毁。",
    ),
    "key": ("Master key {key_id}", "主密钥 {key_id}"),
    "words": ("The share's words", "本份的单词"),
    "name": (
        "IPNS name of the catalogue of all archives, as it follows from this key",
        "由此密钥推导出的归档目录 IPNS 名称",
    ),
    "catalogue": ("Newest catalogue when this was made", "制作时最新的归档目录"),
    "unpublished": ("not published yet", "尚未发布"),
    "account": (
        "Account that pays for the storage (its seed is not on this page)",
        "支付存储费用的账户（其种子不在此页上）",
    ),
    "unbought": ("nothing was bought yet", "尚未购买"),
    "keyring": (
        (
            "Keys of archives that have an end, sealed by the master key: they are on no network. Type these lines into"
            " a file for `roadvault recover`, or scan them. A month that is not here came after this page; the keyring"
            " files have it. Once a month's key is destroyed, print this page anew and destroy the old one."
        ),
        (
            "有保存期限的归档所用的密钥，由主密钥加密，网络上没有副本。恢复时将以下各行输入（或扫描）到一个文件，"
            "供 roadvault recover 使用。此页未列出的月份是制作之后才有的，见密钥环文件。"
            "某月的密钥销毁后，请重新打印并销毁旧页。"
        ),
    ),
    "recover": (
        "To recover: a machine with RoadVault and its servers (README.md), and a new, empty database. Then:",
        "恢复方法：准备一台装有 RoadVault 及其所需服务的机器（见 README.zh-CN.md）和一个全新的空数据库，然后：",
    ),
    "by_hand": (
        "Without RoadVault, ipfs, openssl and 7z open an archive whose CID is known:",
        "没有 RoadVault 时，只要知道归档的 CID，用 ipfs、openssl 和 7z 即可打开：",
    ),
    "slip39": (
        (
            "The shares are SLIP-39, one group, no passphrase: any tool for it joins them. If it gives the key in hex,"
            " that is $HEX."
        ),
        "各份采用 SLIP-39 标准（单组，无密码短语），任何支持它的工具都可合并。若得到十六进制密钥，即为下面的 $HEX。",
    ),
}

JOIN = "roadvault master-key join        # asks for {share.threshold} shares, prints the key"
RECOVER = (
    "export ROADVAULT_MASTER_KEYS_FILE=…   # a file with the key; several keys: separated by commas",
    "roadvault migrate",
    "roadvault recover",
)
BY_HAND = (
    "read -rs MASTER   # the master key",
    "HEX=$(echo \"$MASTER\" | tr _- /+ | base64 -d | od -An -vtx1 | tr -d ' \\n')",
    "KEK=$(openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:$HEX \\",
    "  -kdfopt 'info:roadvault archive key' HKDF | tr -d :)",
    "ipfs get CID -o archive && cd archive",
    'of() { sed -n "s/.*\\"$1\\":\\"\\([^\\"]*\\)\\".*/\\1/p" label.json; }',
    "KEY=$(of key | base64 -d | openssl enc -d -id-aes256-wrap -K $KEK -iv A6A6A6A6A6A6A6A6 \\",
    "  | od -An -vtx1 | tr -d ' \\n')",
    "openssl enc -d -aes-256-ctr -K $KEY -iv $(of iv) -in archive.7z.enc -out archive.7z",
    "7z x archive.7z",
)
"""For archives that have a label; those of before are in the catalogue."""
