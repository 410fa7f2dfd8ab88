"""Wordings for what is done to a sentence or some words: `{text}` is before, `{result}` after."""

from __future__ import annotations

from danlu.world.wording import sections

EN = sections("""
= head
[Notes|Homework|Exercises] [for today|of the week]
Things to do with [sentences|words]
From a school book
= negation
[With "not"|The negative of] "{text}" [we get|is]: {result}
Write "{text}" with "not": {result}
{text} [No, that is wrong:|The opposite:] {result}
The sentence "{text}" becomes negative: {result}
To say that it is not so, change "{text}" to "{result}"
= question
A question made from "{text}": {result}
Turn "{text}" into a question: {result}
{text} The question for it is: {result}
To ask about it, do not say "{text}" but "{result}"
As a yes-or-no question, "{text}" is: {result}
= replacement
Replace "{old}" with "{new}" in "{text}" and you get: {result}
{text} Say the same about "{new}": {result}
Put "{new}" in place of "{old}". Before: {text} After: {result}
With "{new}" and not "{old}", the sentence "{text}" is: {result}
Not "{old}" but "{new}": {text} -> {result}
= dress
In capital letters, "{text}" is {result}
{text} Now in capitals: {result}
The sign on the wall says in large letters what we write small. {text} {result}
Write "{text}" in capital letters: {result}
[He shouted|She wrote in capitals]: {result} [That means|In small letters]: {text}
= shortening
{text} In short: {result}
A long note: {text} [The short one|The same in few words]: {result}
{text} What happened? {result}
[Shorten|Sum up]: {text} Answer: {result}
In one sentence: {text} -> {result}
= before
It was a [sunny|windy|grey] day.
The morning was [cold|warm|quiet].
It was [early|late|almost noon].
The [town|street|house] was quiet.
It [rained|snowed] a little.
= after
Then it was time to [rest|go home].
Nothing else happened.
Soon the [sun went down|moon came up].
After that all was quiet.
It took [an hour|all day].
= order
Put these words in order: {text}. [Answer|Solution]: {result}
The words "{text}" make the sentence: {result}
In a muddle: {text}. In order: {result}
Make a sentence of {text}: {result}
= commas
[Write|Name] {n} {group}, with commas between them: {result}
{n} {group} with commas: {result}
These words with commas between them: {words} -> {result}
Separate "{words}" by commas: {result}
On the note there were {n} {group}: {result}.
= dashes
[Here is|This is] a list of {n} {group}:{result}
{n} {group}, one on each line:{result}
The words "{words}" as a list with dashes:{result}
My list:{result}
= first
{text}: the first word is {result}.
Which word comes first in "{text}"? {result}.
The first of {text} is {result}.
{text}. First word: {result}
= last
{text}: the last word is {result}.
Which word comes last in "{text}"? {result}.
The last of {text} is {result}.
{text}. Last word: {result}
= count
{text}: that makes {result} words.
How many words are there? {text}. There are {result}.
Count them: {text}. {result} words.
""")
ZH = sections("""
= head
[今天|本周]的[作业|练习|笔记]
[句子|词语]练习
摘自课本
= negation
“{text}”的否定说法是：{result}
用“不”字说“{text}”：{result}
{text}[不对，应该说|反过来说]：{result}
把“{text}”改成否定句：{result}
要说不是这样，就把“{text}”改成“{result}”
= question
把“{text}”变成问句：{result}
“{text}”改成问句是：{result}
{text}问起来就是：{result}
想问的时候，不说“{text}”，要说“{result}”
加上“吗”字，“{text}”就成了：{result}
= replacement
把“{text}”里的“{old}”换成“{new}”，就是：{result}
{text}换成“{new}”来说：{result}
用“{new}”代替“{old}”。原来：{text}现在：{result}
不说“{old}”，说“{new}”，“{text}”就成了：{result}
不是“{old}”，是“{new}”：{text} -> {result}
= dress
给“{text}”加上引号就是{result}
{text}加上引号：{result}
把{text}放进引号里，写成{result}
原文：{text}带引号：{result}
[他说|她说]的话要用引号引起来：{result}
= shortening
{text}简单地说：{result}
长的：{text}[短的|缩短以后]：{result}
{text}发生了什么？{result}
[缩短|概括]：{text}答案：{result}
用一句话说：{text} -> {result}
= before
那天[天气很好|刮着风|天阴阴的]。
早上很[冷|暖和|安静]。
[天还早|天色不早了|快到中午了]。
[城里|街上|屋里]很安静。
[下了一点雨|下了一点雪]。
= after
然后就该[休息|回家]了。
别的什么也没发生。
[太阳很快下山了|月亮很快升起来了]。
之后一切都很安静。
用了[一个小时|一整天]。
= order
把这些词排好：{text}。[答案|排好以后]：{result}
“{text}”可以组成一句话：{result}
打乱的：{text}。排好的：{result}
用{text}造句：{result}
= commas
[写出|说出]{n}个{group}，用逗号分开：{result}
{n}个{group}，中间用逗号：{result}
把这些词用逗号分开：{words} -> {result}
“{words}”用逗号隔开是：{result}
纸条上写着{n}个{group}：{result}。
= dashes
[这是|下面是]{n}个{group}：{result}
{n}个{group}，一行一个：{result}
把“{words}”写成列表：{result}
我的清单：{result}
= first
{text}，第一个词是{result}。
{text}，哪个词在最前面？{result}。
{text}里最前面的是{result}。
{text}。第一个词：{result}
= last
{text}，最后一个词是{result}。
{text}，哪个词在最后面？{result}。
{text}里最后面的是{result}。
{text}。最后一个词：{result}
= count
{text}，一共{result}个词。
有几个词？{text}。有{result}个。
数一数：{text}。{result}个词。
""")
