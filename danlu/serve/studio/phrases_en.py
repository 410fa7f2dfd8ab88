"""The pages in English."""

from __future__ import annotations

ENGLISH = {
    # the frame
    "frame.brand": "Danlu",
    "frame.navigation": "Pages",
    "frame.menu": "Show or hide the navigation",
    "frame.light": "Light theme",
    "frame.dark": "Dark theme",
    "frame.account": "Account",
    "frame.sign_out": "Sign out",
    "page.chat": "Chat",
    "page.compare": "Compare",
    "page.rank": "Rank",
    "page.demonstrate": "Demonstrate",
    "role.admin": "administrator",
    "role.trainer": "trainer",
    "role.annotator": "annotator",
    "role.guest": "guest",
    "refused.page": "Your role ({role}) does not open this page. An administrator can change that.",
    "refused.role": "Not done: your role ({role}) does not allow it any more.",
    "refused.signed_out": "Not done: you are signed out. Reload the page to sign in again.",
    # signing in
    "sign_in.title": "Sign in",
    "sign_in.name": "Name",
    "sign_in.password": "Password",
    "sign_in.do": "Sign in",
    "sign_in.wrong": "Name and password do not fit together, or the account is closed.",
    "sign_in.later": "Too many tries. Wait {seconds} seconds, then try again.",
}
