"""The page of `danlu attention`: all that was seen, in one file that fetches nothing and runs nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import Tensor

from danlu.evaluate.markup import Markup, both, join, number, table, tag
from danlu.evaluate.page import page
from danlu.evaluate.sections.words import note, section
from danlu.inspect.attention import TEXT, Difference, HeadScore, LayerWeights
from danlu.inspect.head_pictures import cells
from danlu.inspect.predictions import Expectation, LensLayer
from danlu.inspect.reader import Piece

N_PAIRS = 5  # strongest pairs of tokens named under a head
Sides = tuple[Sequence[str], Sequence[str]]  # what rows and columns of a head are called
CELL = 14  # side of a token's square in a large picture, in its own units


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A text and its tokens, as a model reads them."""

    text: str
    pieces: Sequence[Piece]

    @property
    def ids(self) -> list[int]:
        return [piece.id for piece in self.pieces]

    @property
    def labels(self) -> list[str]:
        return [piece.label for piece in self.pieces]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was seen while a model read one text, or a text and its translation."""

    title: str
    read: Mapping[str, Read]  # by the names that layers have for what they look at
    layers: Sequence[LayerWeights]
    expected: Sequence[Expectation]
    lens: Sequence[LensLayer]
    spelled: Mapping[int, str]  # tokens that are named as guesses
    masked: bool  # whether a token was hidden when it was expected

    @property
    def pieces(self) -> Sequence[Piece]:
        """The tokens of what is predicted, or of all there is."""
        return self.read[TEXT].pieces

    @property
    def labels(self) -> list[str]:
        return self.read[TEXT].labels

    @property
    def ids(self) -> dict[str, list[int]]:
        return {name: each.ids for name, each in self.read.items()}

    def sides(self, layer: LayerWeights) -> Sides:
        """What the tokens are called that look in a layer, and those that are looked at."""
        rows, columns = (self.read[text].labels for text in layer.texts)
        return rows, columns

    def head(self, which: HeadScore) -> tuple[Tensor, Sides]:
        """The weights of one head, (queries, keys), and what they are called."""
        place = (which.stack, which.kind, which.layer)
        layer = next(each for each in self.layers if (each.stack, each.kind, each.layer) == place)
        return layer.weights[which.head], self.sides(layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the page shows."""

    model: str
    looked: Sequence[Looked]  # one text or two
    difference: Difference | None
    between: tuple[str, str, list[HeadScore]] | None  # two words of the first text, and all heads

    def sides_of_difference(self, layer: LayerWeights) -> Sides:
        """Tokens that both texts have, or both of those that stand for each other, as rows and columns."""
        rows, columns = (self._shared(text) for text in layer.texts)
        return rows, columns

    def _shared(self, text: str) -> list[str]:
        assert self.difference is not None
        first, second = (each.read[text].labels for each in self.looked)
        names = [(first[a], second[b]) for a, b in self.difference.pairs[text]]
        return [a if a == b else f"{a}/{b}" for a, b in names]


def render(sight: Sight, n_shown: int) -> str:
    """The whole document."""
    bodies = list(_sections(sight, n_shown))
    texts = join([tag("span", each.title, class_="said-text") for each in sight.looked], " · ")
    return page(
        sight.model,
        join([tag("b", sight.model), texts], ": "),
        bodies,
        heading=both("What every head looks at", "每个注意力头在看什么"),
        style=STYLE,
    )


def _sections(sight: Sight, n_shown: int) -> Iterator[tuple[str, Markup, Markup]]:
    if sight.between is not None:
        yield "between", both("between two words", "两词之间"), _between(sight, n_shown)
    if sight.difference is not None:
        yield "difference", both("difference", "差别"), _difference(sight, n_shown)
    for at, looked in enumerate(sight.looked, start=1):
        numbered = "" if len(sight.looked) == 1 else f" {at}"
        yield f"heads{at}", both(f"heads{numbered}", f"注意力头{numbered}"), _heads(looked, at)
        if looked.expected:
            yield f"tokens{at}", both(f"tokens{numbered}", f"词元{numbered}"), _tokens(looked, at)
        if looked.lens:
            yield f"lens{at}", both(f"logit lens{numbered}", f"逐层预测{numbered}"), _lens(looked, at)


def _between(sight: Sight, n_shown: int) -> Markup:
    assert sight.between is not None
    word, other, scores = sight.between
    looked = sight.looked[0]
    drawn: list[Markup] = []
    shared: dict[str, Markup] = {}
    for at, each in enumerate(scores[:n_shown]):
        weights, sides = looked.head(each)
        key = f"between{each.stack}{each.kind}"
        shared.setdefault(key, shared_names(key, sides))
        picture = large_head(f"between-{at}", weights, key)
        drawn.append(tag("figure", picture, tag("figcaption", each.name)))
    rows = [[each.name, number(each.score, "three")] for each in scores[: 2 * n_shown]]
    return section(
        "between",
        f"From {word} to {other}",
        f"从“{word}”到“{other}”",
        note(
            "Layer and head, counted from 0, and the share of its attention that the first word gives the "
            "second; where a word is several tokens, the sum over those looked at and the mean over those "
            "that look.",
            "层和头都从 0 数起；数字是前一个词把多少注意力给了后一个词。一个词含几个词元时，"
            "对被看的词元求和，对在看的词元取平均。",
        ),
        *shared.values(),
        tag("div", *drawn, class_="large-heads"),
        table([both("layer.head", "层.头"), both("share", "份额")], rows),
    )


def _difference(sight: Sight, n_shown: int) -> Markup:
    assert sight.difference is not None
    rows = [[each.name, number(each.score, "three")] for each in sight.difference.ranked()[: 2 * n_shown]]
    return section(
        "difference",
        "Second text less the first",
        "第二句减第一句",
        note(
            "Orange where the second text's heads look more, blue where less, over the tokens that stand for "
            "each other. In a decoder nothing before the first difference can change. The table names the "
            "heads of which the largest share of attention moved.",
            "橙色表示第二句看得更多，蓝色表示更少；只比较互相对应的词元。解码器里，第一处不同之前什么也不会变。"
            "表中是注意力移动份额最大的头。",
        ),
        table([both("layer.head", "层.头"), both("share moved", "移动的份额")], rows),
        _grid(
            [(layer, sight.sides_of_difference(layer)) for layer in sight.difference.layers],
            "difference",
            signed=True,
        ),
    )


def _heads(looked: Looked, at: int) -> Markup:
    return section(
        f"heads{at}",
        f"Heads: {looked.title}",
        f"注意力头：{looked.title}",
        note(
            "A row a layer, a square a head; in a square, the row is the token that looks and the column the "
            "one looked at, and the colour is the square root of the weight. Open a square to see it large.",
            "每行一层，每格一个头；格内的行是在看的词元，列是被看的词元，颜色深浅为权重的平方根。点开一格可放大。",
        ),
        _grid([(layer, looked.sides(layer)) for layer in looked.layers], f"text{at}"),
    )


def _grid(layers: Sequence[tuple[LayerWeights, Sides]], key: str, *, signed: bool = False) -> Markup:
    """Every head small, with the large picture folded away under it; what is alike is named once."""
    parts: list[Markup] = []
    for (stack, kind), group in groupby(layers, key=lambda each: (each[0].stack, each[0].kind)):
        members = list(group)
        part = f"{key}{stack}{kind}"
        if stack or kind != "self":
            parts.append(tag("h3", both(*PARTS.get((stack, kind), (f"{stack} {kind}",) * 2))))
        parts.append(shared_names(part, members[0][1]))
        for layer, sides in members:
            heads = [
                _head(f"{layer.layer}.{head}", weights, sides, part, signed)
                for head, weights in enumerate(layer.weights)
            ]
            parts.append(tag("div", *heads, class_="heads"))
    return join(parts)


def _head(title: str, weights: Tensor, sides: Sides, key: str, signed: bool) -> Markup:
    name = f"{key}-{title}"
    height, width = weights.shape
    small = tag(
        "svg",
        Markup(f'<use href="#{name}"/>'),
        viewBox=f"0 0 {width} {height}",
        preserveAspectRatio="none",
        role="img",
        aria_label=title,
    )
    pairs = [
        tag("li", f"{sides[0][row]} → {sides[1][column]} ", number(weight, "two"))
        for row, column, weight in strongest(weights)
    ]
    return tag(
        "details",
        tag("summary", small, tag("span", title)),
        large_head(name, weights, key, signed=signed),
        tag("ul", *pairs, class_="pairs"),
        class_="head",
    )


def strongest(weights: Tensor) -> list[tuple[int, int, float]]:
    """The pairs of tokens with the largest weights, as row, column and weight."""
    n_columns = weights.shape[1]
    best = weights.abs().flatten().topk(min(N_PAIRS, weights.numel())).indices.tolist()
    return [(i // n_columns, i % n_columns, float(weights[i // n_columns, i % n_columns])) for i in best]


def large_head(name: str, weights: Tensor, key: str, *, signed: bool = False) -> Markup:
    """One head with its tokens; the picture is kept once and can be used elsewhere by its name."""
    height, width = (CELL * n for n in weights.shape)
    source = base64.b64encode(cells(weights, signed=signed)).decode("ascii")
    image = tag(
        "image",
        id=name,
        width=weights.shape[1],
        height=weights.shape[0],
        preserveAspectRatio="none",
        href=f"data:image/png;base64,{source}",
    )
    return tag(
        "svg",
        tag("g", image, transform=f"scale({CELL})"),
        tag("use", href=f"#{key}-names"),
        viewBox=f"-{MARGIN} -{MARGIN} {width + MARGIN + 4} {height + MARGIN + 4}",
        class_="large",
        style=f"max-width:{width + MARGIN}px",
    )


def shared_names(key: str, sides: Sides) -> Markup:
    """The tokens at the left and above a large picture, written once for all that have the same."""
    rows, columns = sides
    texts = [tag("text", name, x=-4, y=middle(at), text_anchor="end") for at, name in enumerate(rows)]
    texts += [
        tag("text", name, transform=f"translate({middle(at)} -4) rotate(-90)")
        for at, name in enumerate(columns)
    ]
    frame = tag("rect", width=CELL * len(columns), height=CELL * len(rows), class_="frame")
    drawing = tag("defs", tag("g", frame, *texts, id=f"{key}-names", class_="names"))
    return tag("svg", drawing, class_="shared", aria_hidden="true")


def middle(at: int) -> str:
    """Where the base line of a token's name runs."""
    return f"{CELL * at + CELL / 2 + 3:g}"


def _tokens(looked: Looked, at: int) -> Markup:
    rows = [
        [
            looked.pieces[each.at].label if each.at < len(looked.pieces) else both("(next)", "（下一个）"),
            number(each.probability, "three"),
            number(each.rank, "integer"),
            tag(
                "span",
                *(_guess(looked, guess.id, guess.probability) for guess in each.best),
                class_="guesses",
            ),
        ]
        for each in looked.expected
    ]
    asked = (
        both("each token while it alone was masked", "每次只遮住这一个词元") if looked.masked
        else both("each token after those before it", "读过前面的词元之后")
    )  # fmt: skip
    headers = [
        both("token", "词元"),
        both("probability", "概率"),
        both("rank", "名次"),
        both("likeliest", "最可能的"),
    ]
    return section(
        f"tokens{at}",
        f"Tokens: {looked.title}",
        f"词元：{looked.title}",
        tag("p", asked, class_="note"),
        table(headers, rows),
    )


def _guess(looked: Looked, token: int, probability: float) -> Markup:
    """A token with its probability, the likelier the darker."""
    shade = f"background:color-mix(in srgb,var(--accent) {60 * probability:.0f}%,transparent)"
    return tag(
        "span", looked.spelled.get(token, str(token)), " ", tag("small", f"{probability:.2f}"), style=shade
    )


def _lens(looked: Looked, at: int) -> Markup:
    rows = [
        [f"{layer.n_layers}", *(_guess(looked, g.id, g.probability) for g in layer.guesses)]
        for layer in reversed(looked.lens)
    ]
    return section(
        f"lens{at}",
        f"Logit lens: {looked.title}",
        f"逐层预测：{looked.title}",
        note(
            "What the model would find likeliest at each place if it ended after so many layers; 0 is the "
            "embedding.",
            "假如模型到这一层为止，每个位置最可能的是什么；0 是词嵌入。",
        ),
        tag(
            "div",
            table([both("layers", "层数"), *looked.labels], rows, text_columns=len(looked.pieces) + 1),
            class_="lens",
        ),
    )


PARTS = {  # of an encoder-decoder
    ("encoder", "self"): ("Encoder: the source looks at itself", "编码器：源句看自己"),
    ("decoder", "self"): ("Decoder: the translation looks at what is written", "解码器：译文看已写出的部分"),
    ("decoder", "cross"): ("Cross attention: the translation looks at the source", "交叉注意力：译文看源句"),
}
MARGIN = 96  # for the tokens' names
STYLE = """
.said-text{white-space:pre-wrap;overflow-wrap:anywhere}
.shared{position:absolute;width:0;height:0}
.heads{display:grid;grid-template-columns:repeat(auto-fill,minmax(5.2rem,1fr));gap:.4rem;margin:0 0 .6rem}
.head{border:1px solid var(--line);padding:.2rem;background:var(--raised)}
.head summary{list-style:none;font-size:.75rem;color:var(--muted);text-align:center}
.head summary::-webkit-details-marker{display:none}
.head summary svg{display:block;width:100%;aspect-ratio:1}
.head[open]{grid-column:1/-1}
.head[open] summary svg{display:none}
image{image-rendering:pixelated}
.large{display:block;width:100%;height:auto}
.names text{font-size:9px;fill:var(--ink)}
.frame{fill:none;stroke:var(--line)}
.large-heads{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(28rem,100%),1fr));gap:1rem}
.pairs{columns:2;font-size:.85rem;margin:.3rem 0}
.n:has(.guesses){text-align:left}
.guesses span,.lens td span{white-space:nowrap;padding:0 .3em;border-radius:.2em;margin-right:.3em}
.lens th,.lens td{white-space:nowrap;font-size:.8rem;padding:.2rem .3rem}
"""
