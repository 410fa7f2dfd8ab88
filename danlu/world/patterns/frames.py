"""Frames for prose about any fact: how an entry begins, how two facts are compared or joined."""

from __future__ import annotations

from collections.abc import Mapping

from danlu.world.names import Lang

NOTES: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "{S} {first}, and {m} {second}, so {p} {second}.",
        "{S} {first}. {M} {second}. So {p} {second}.",
        "{P} {second}, because {s} {first}, and {m} {second}.",
        "We know that {s} {first}. We also know that {m} {second}. Therefore {p} {second}.",
        "If {s} {first}, and {m} {second}, then {p} {second}.",
        "{M} {second}. And {s} {first}. It follows that {p} {second}.",
    ),
    "zh": (
        "{s}{first}，{m}{second}，所以{p}{second}。",
        "{s}{first}。{m}{second}。所以{p}{second}。",
        "因为{s}{first}，而{m}{second}，所以{p}{second}。",
        "我们知道{s}{first}，又知道{m}{second}，可见{p}{second}。",
        "{m}{second}。{s}{first}。由此可知，{p}{second}。",
        "既然{s}{first}，{m}{second}，那么{p}{second}。",
    ),
}

INTRODUCTIONS: Mapping[Lang, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "place": ("{x} is {a_sort}.", "{x} is the name of {a_sort}.", "This is about {x}, {a_sort}."),
        "animal": (
            "{A0} is an animal.",
            "The {n} is a kind of animal.",
            "There is an animal called the {n}.",
        ),
        "food": ("{x} is something to eat.", "{x} is a dish.", "People like to eat {x}."),
        "thing": ("{A0} is a tool.", "There is a tool called the {n}.", "Not everybody has {a0} at home."),
        "person": ("This is {x}.", "Let us talk about {x}.", "Meet {x}.", "Many people know {x}."),
    },
    "zh": {
        "place": ("{x}是一座{sort}。", "有一座{sort}叫{x}。", "下面说说{x}。"),
        "animal": ("{x}是一种动物。", "有一种动物叫{x}。", "你听说过{x}吗？"),
        "food": ("{x}是一种食物。", "有一种好吃的东西叫{x}。", "很多人爱吃{x}。"),
        "thing": ("{x}是一种工具。", "有一种工具叫{x}。", "不是人人家里都有{x}。"),
        "person": ("这是{x}。", "下面说说{x}。", "很多人都认识{x}。", "有一个人叫{x}。"),
    },
}

CONTRASTS: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "{x} {do_x}, but {y} {do_y}.",
        "{x} {do_x}, while {y} {do_y}.",
        "{x} {do_x}; {y} {do_y}.",
        "{y} {do_y}, and {x} {do_x}.",
    ),
    "zh": (
        "{x}{do_x}，而{y}{do_y}。",
        "{x}{do_x}，可是{y}{do_y}。",
        "{x}{do_x}；{y}{do_y}。",
        "{x}{do_x}，{y}呢，{do_y}。",
    ),
}

MEASURED: Mapping[Lang, Mapping[str, tuple[str, ...]]] = {
    "en": {
        "age": (
            "{x} is {vx} years old and {y} is {vy}, so {most} is older than {least}.",
            "{most} is older than {least}: {x} is {vx}, {y} is {vy}.",
            "{least} is younger than {most}, for {x} is {vx} and {y} is {vy}.",
        ),
        "founded": (
            "{most} is older than {least}: {x} was founded in {vx}, {y} in {vy}.",
            "{x} was founded in {vx} and {y} in {vy}, so {least} is the younger one.",
        ),
        "lifespan": (
            "{most} lives longer than {least}: {x} lives {vx} years, {y} {vy}.",
            "{x} lives {vx} years and {y} {vy} years, so {most} lives longer.",
        ),
        "legs": (
            "{most} has more legs than {least}: {x} has {vx}, {y} has {vy}.",
            "{x} has {vx} legs and {y} has {vy}, so {least} has fewer legs.",
        ),
    },
    "zh": {
        "age": (
            "{x}{vx}岁，{y}{vy}岁，所以{most}比{least}大。",
            "{most}比{least}年纪大：{x}{vx}岁，{y}{vy}岁。",
            "{least}比{most}小，因为{x}{vx}岁，{y}{vy}岁。",
        ),
        "founded": (
            "{most}比{least}更古老：{x}建于{vx}年，{y}建于{vy}年。",
            "{x}建于{vx}年，{y}建于{vy}年，所以{most}更早。",
        ),
        "lifespan": (
            "{most}比{least}活得长：{x}能活{vx}年，{y}能活{vy}年。",
            "{x}能活{vx}年，{y}能活{vy}年，所以{least}活得短一些。",
        ),
        "legs": (
            "{most}的腿比{least}多：{x}有{vx}条，{y}有{vy}条。",
            "{x}有{vx}条腿，{y}有{vy}条腿，所以{least}的腿少一些。",
        ),
    },
}
