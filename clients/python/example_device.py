"""示例自助机：没有浏览器的设备 / an example kiosk: a device without a browser.

./onecard login client add kiosk-1 --name 示例自助机 --scope profile --device > kiosk-1.json
python clients/python/example_device.py kiosk-1.json
"""

import json
import sys
from pathlib import Path

from onecard_login import DeviceCode, LogInError, OneCardLogin


def show(code: DeviceCode) -> None:
    print(f"打开 / open: {code.url}", f"输入 / type: {code.user_code}", sep="\n", flush=True)


if __name__ == "__main__":
    client = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    login = OneCardLogin(client["issuer"], client["client_id"], client["client_secret"] or "")
    try:
        person = login.by_device(show)
    except LogInError as error:
        sys.exit(f"没有登录 / not logged in: {error.error}")
    print(f"您好 / welcome: {person.name} ({person.sub})")
