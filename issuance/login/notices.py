"""Pages of one message for browsers that cannot be sent anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.responses import HTMLResponse

from onecard_ui import templates

_TEMPLATES: Final = templates(Path(__file__).parent / "templates")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
}


@dataclass(frozen=True, slots=True)
class Notice:
    title_zh: str
    text_zh: str
    title_en: str
    text_en: str


REQUEST_WRONG: Final = Notice(
    "登录请求有误",
    "您没有登录，也没有信息被提供。请返回原来的网站重试；仍不成功，请把下面一行告诉网站的维护人员。",
    "The log-in request is wrong.",
    "You are not logged in and nothing was told to anybody. Go back and try again, or tell the site the line below.",
)
LOGGED_OUT: Final = Notice("已退出登录", "可以关闭本页。", "Logged out.", "You may close this page.")
LOGOUT_WRONG: Final = Notice(
    "退出请求有误",
    "为保证安全，没有转到请求中的地址。",
    "The log-out request is wrong.",
    "For safety you were not sent to the address in it.",
)
DEVICE_ASKS: Final = Notice(
    "在设备上登录",
    "请输入设备屏幕上显示的八个字母。只输入您自己面前的设备显示的代码；别人发来的代码不要输入。",
    "Log in on a device.",
    "Type the eight letters on its screen. Only of a device in front of you; never a code that somebody sent you.",
)
DEVICE_UNKNOWN: Final = Notice(
    "代码无效",
    "代码已过期、已使用过或输入有误。请在设备上重新开始。",
    "The code is not valid.",
    "It is over, was used already or has a typing mistake. Begin again on the device.",
)
DEVICE_DONE: Final = Notice("已完成", "请回到设备继续。", "Done.", "Go on at the device.")
BUSY: Final = Notice(
    "暂时无法登录", "请稍后再试。", "Logging in is not possible at the moment.", "Try again in a minute."
)


def notice_page(
    notice: Notice, status: int = 200, *, detail: str = "", asks_code: bool = False, user_code: str = ""
) -> HTMLResponse:
    """`detail`: what a relying party's people can make use of; nothing that came from outside unchecked."""
    page = _TEMPLATES.get_template("notice.html")
    text = page.render(notice=notice, detail=detail, asks_code=asks_code, user_code=user_code)
    return HTMLResponse(text, status, _HEADERS)
