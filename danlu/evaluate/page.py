"""The page around the sections: one file, no script, nothing fetched, two languages, light and dark."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.evaluate.markup import Markup, both, join, tag


def page(
    title: str,
    subtitle: object,
    sections: Sequence[tuple[str, Markup, Markup]],
    heading: Markup | None = None,
) -> str:
    """A whole document.

    Args:
        title: the run's name.
        subtitle: one line under the heading.
        sections: id, short name for the contents, and body of each.
        heading: what the page is about; by default the whole recipe.
    """
    links = [tag("a", name, href=f"#{key}") for key, name, _ in sections]
    head = join(
        [
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            # Even if a text found its way in as markup, nothing could run or be fetched.
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
            tag("title", f"Danlu 丹炉 · {title}"),
            tag("style", Markup(STYLE)),
        ]
    )
    header = tag(
        "header",
        tag("div", "Danlu 丹炉", class_="brand"),
        tag("h1", heading or both("From raw text to an assistant", "从原始文本到助手")),
        tag("p", subtitle, class_="subtitle"),
        tag("nav", *links),
    )
    body = tag(
        "body", SWITCH, tag("div", header, tag("main", *(body for *_, body in sections)), class_="page")
    )
    return f"<!doctype html>\n{tag('html', tag('head', head), body, lang='en')}\n"


POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SWITCH = Markup(
    '<input type="radio" name="language" id="show-en" checked>'
    '<input type="radio" name="language" id="show-zh">'
    '<div class="switch"><label for="show-en" lang="en">English</label>'
    '<label for="show-zh" lang="zh">中文</label></div>'
)
STYLE = """
:root{color-scheme:light dark;--paper:#fcfbf8;--raised:#fff;--ink:#1c1b1a;--muted:#6a6660;--line:#e4e0d8;
--accent:#0f766e;--base:#7d8590;--sft:#2563c9;--ppo:#c2410c;--control:#7c4dbd;--good:#15803d;--bad:#b42318}
@media (prefers-color-scheme:dark){:root{--paper:#141413;--raised:#1d1c1b;--ink:#eceae6;--muted:#a19c94;
--line:#35322e;--accent:#4fc3b5;--base:#9aa3ae;--sft:#7aa9ff;--ppo:#ff8f57;--control:#b99af0;--good:#6fcf87;
--bad:#ff8a7a}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.55;
font-family:system-ui,-apple-system,"Segoe UI","PingFang SC","Microsoft YaHei",
"Noto Sans CJK SC","Noto Sans SC",sans-serif}
.page{max-width:66rem;margin:0 auto;padding:1.5rem 1rem 4rem}
#show-en,#show-zh{position:absolute;opacity:0;pointer-events:none}
.switch{position:fixed;top:.6rem;right:.6rem;z-index:2;display:flex;border:1px solid var(--line);
border-radius:99px;background:var(--raised);overflow:hidden;font-size:.85rem}
.switch label{padding:.25rem .8rem;cursor:pointer;color:var(--muted)}
#show-en:checked~.switch label[for=show-en],#show-zh:checked~.switch label[for=show-zh]{background:var(--ink);
color:var(--paper)}
#show-en:focus-visible~.switch,
#show-zh:focus-visible~.switch{outline:2px solid var(--accent);outline-offset:2px}
#show-en:checked~.page .zh,#show-zh:checked~.page .en{display:none}
.brand{color:var(--muted);letter-spacing:.04em}
h1{font-size:clamp(1.7rem,5vw,2.5rem);line-height:1.15;margin:.2rem 0 .4rem;letter-spacing:-.01em}
h2{font-size:1.35rem;margin:0 0 .6rem}
section{margin-top:3rem;scroll-margin-top:1rem}
.subtitle{color:var(--muted);margin:0 0 1rem}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.9rem}
a{color:var(--accent);text-decoration-thickness:1px;text-underline-offset:2px}
.note{color:var(--muted);max-width:46rem;margin:.4rem 0 1rem}
.label{font-size:.85rem;font-weight:600;color:var(--muted)}
small,.ci{font-size:.82em;color:var(--muted);font-weight:400;white-space:nowrap}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:1rem}
.tile{background:var(--raised);border:1px solid var(--line);border-top:4px solid var(--tile);
border-radius:.6rem;padding:.9rem 1rem}
.tile .big{font-size:2.6rem;line-height:1.1;font-weight:650;font-variant-numeric:tabular-nums}
.tile .big small{font-size:.45em}
.gain{display:block;margin-top:.5rem;font-size:.92rem}
.gain b{color:var(--tile,var(--ink));font-size:1.1em}
.control .gain{display:inline;font-size:1em}
.control{margin:.9rem 0 0}
.bar{display:block;height:.55rem;min-width:4rem;border-radius:99px;background:var(--line);overflow:hidden;
margin:.4rem 0}
.bar span{display:block;height:100%;border-radius:99px}
.ladder{list-style:none;margin:0;padding:0;border-top:1px solid var(--line)}
.ladder li{display:grid;grid-template-columns:9.5rem 1fr 1fr;gap:.2rem 1rem;padding:.55rem 0;
border-bottom:1px solid var(--line);align-items:baseline}
.ladder .label{color:var(--ink);font-size:1rem}
.ladder .label small{display:block}
.ladder .what{color:var(--muted)}
.ladder .added{font-weight:600;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;margin:0 0 1.2rem}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
tbody th{font-weight:500}
thead th{color:var(--muted);font-weight:600;font-size:.85rem;vertical-align:bottom}
data{white-space:nowrap}
.n{text-align:right}
.n:has(.example){text-align:left}
.example{color:var(--muted);font-size:.85em;overflow-wrap:anywhere}
.inset{padding-left:1rem;color:var(--muted)}
td .ci{display:block}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));gap:1.2rem 1.6rem;
margin:0 0 1.5rem;align-items:start}
@media (min-width:44rem){.tall-first>:first-child{grid-row:span 2}}
figure{margin:0}
figcaption{font-size:.85rem;color:var(--muted);margin-top:.1rem}
svg.chart{display:block;width:100%;height:auto;font-family:inherit}
svg.chart *{stroke-linejoin:round;stroke-linecap:butt}
.card{border:1px solid var(--line);border-radius:.6rem;background:var(--raised);padding:.8rem 1rem;
margin:0 0 1rem}
.turn{display:grid;grid-template-columns:4.5rem 1fr;gap:.6rem;margin-top:.3rem}
.turn b{color:var(--muted);font-weight:500}
.said{display:grid;grid-template-columns:repeat(auto-fit,minmax(14rem,1fr));gap:.8rem;margin-top:.7rem}
.answer{border-left:3px solid var(--tile,var(--line));padding-left:.7rem;min-width:0}
.text{white-space:pre-wrap;overflow-wrap:anywhere}
.text+.text{margin-top:.5rem}
.empty{color:var(--muted);font-style:italic}
.grade{font-weight:500}
.right{color:var(--good)}.wrong{color:var(--bad)}
details{border-top:1px solid var(--line);padding:.4rem 0}
summary{cursor:pointer}
pre{overflow-x:auto;font-size:.82rem;margin:.4rem 0;padding:.7rem;background:var(--raised);
border:1px solid var(--line);border-radius:.4rem}
@media (max-width:40rem){.ladder li{grid-template-columns:1fr}.page{padding-top:3rem}
th,td{padding:.35rem .4rem}}
@media print{.switch,nav{display:none}section{break-inside:avoid-page}}
"""
