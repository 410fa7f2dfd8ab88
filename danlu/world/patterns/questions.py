"""Question wordings of every attribute; `{x}` is the subject's bare name, articles are written out."""

from __future__ import annotations

QUESTIONS = """
= person.job
What is {x}'s job?
What does {x} do for a living?
What is the job of {x}?
What work does {x} do?
{x}的职业是什么？
{x}是做什么工作的？
{x}做什么工作？
{x}靠什么谋生？

= person.home
Where does {x} live?
Where is {x}'s home?
In which place does {x} live?
Where is the home of {x}?
{x}住在哪里？
{x}的家在哪里？
{x}住在什么地方？
{x}家在哪儿？

= person.pet
What pet does {x} have?
Which animal does {x} keep?
What is {x}'s pet?
What kind of animal is the pet of {x}?
{x}养什么宠物？
{x}的宠物是什么？
{x}养了什么动物？
{x}家里养着什么动物？

= person.favourite_food
What is {x}'s favourite food?
What does {x} like to eat best?
Which food does {x} like most?
What is the favourite food of {x}?
{x}最爱吃什么？
{x}最喜欢的食物是什么？
{x}最喜欢吃什么？
什么是{x}最爱吃的东西？

= person.favourite_colour
What is {x}'s favourite colour?
Which colour does {x} like best?
What colour does {x} like most?
What is the favourite colour of {x}?
{x}最喜欢什么颜色？
{x}最喜欢的颜色是什么？
{x}最爱哪种颜色？
哪种颜色是{x}最喜欢的？

= person.age
How old is {x}?
What is {x}'s age?
What age is {x}?
How many years old is {x}?
{x}多大了？
{x}今年几岁？
{x}多少岁？
{x}的年龄是多少？

= person.friend
Who is {x}'s best friend?
Who is the best friend of {x}?
What is the name of {x}'s best friend?
Which person is {x}'s best friend?
{x}最好的朋友是谁？
谁是{x}最好的朋友？
{x}和谁最要好？
{x}最好的朋友叫什么？

= person.instrument
What instrument does {x} play?
Which instrument does {x} play?
What is {x}'s instrument?
What can {x} play?
{x}会什么乐器？
{x}演奏什么乐器？
{x}会演奏哪种乐器？
{x}的乐器是什么？

= place.region
In which part of the country is {x}?
Where does {x} lie?
In which region is {x}?
What part of the country is {x} in?
{x}在哪个地区？
{x}位于什么地方？
{x}在什么地区？
{x}所在的地区是哪里？

= place.river
Which river runs through {x}?
What river is {x} on?
On which river does {x} lie?
What is the name of the river in {x}?
哪条河流过{x}？
{x}在哪条河边？
流过{x}的河叫什么？
{x}旁边是哪条河？

= place.known_for
What is {x} known for?
What is {x} famous for?
Which product is {x} known for?
What do people buy in {x}?
{x}以什么闻名？
{x}的特产是什么？
{x}出产什么？
{x}因什么而出名？

= place.founded
When was {x} founded?
In which year was {x} founded?
What year was {x} built?
In what year did {x} begin?
{x}是哪一年建立的？
{x}建于哪一年？
{x}是什么时候建立的？
{x}建立于何年？

= place.mayor
Who is the mayor of {x}?
What is the name of the mayor of {x}?
Who governs {x}?
Who is {x}'s mayor?
{x}的长官是谁？
谁是{x}的长官？
谁管理{x}？
{x}的长官叫什么？

= animal.colour
What colour is the {x}?
What is the colour of the {x}?
Which colour does the {x} have?
What colour does the {x} have?
{x}是什么颜色的？
{x}的颜色是什么？
{x}的毛是什么颜色？
{x}身上是什么颜色？

= animal.diet
What does the {x} eat?
What is the food of the {x}?
What does the {x} feed on?
What does the {x} live on?
{x}吃什么？
{x}的食物是什么？
{x}以什么为食？
{x}靠吃什么生活？

= animal.habitat
Where does the {x} live?
Where can the {x} be found?
What is the home of the {x}?
Where does the {x} make its home?
{x}生活在哪里？
{x}住在哪里？
在哪里能找到{x}？
{x}的家在哪里？

= animal.legs
How many legs does the {x} have?
How many legs has the {x}?
On how many legs does the {x} walk?
What is the number of legs of the {x}?
{x}有几条腿？
{x}长着几条腿？
{x}用几条腿走路？
{x}一共有多少条腿？

= animal.lifespan
How long does the {x} live?
How many years does the {x} live?
How old does the {x} get?
What age does the {x} reach?
{x}能活多少年？
{x}的寿命是多少年？
{x}能活多久？
{x}可以活几年？

= food.taste
What does {x} taste like?
How does {x} taste?
What is the taste of {x}?
What taste does {x} have?
{x}是什么味道的？
{x}的味道怎么样？
{x}吃起来是什么味道？
{x}的味道是什么？

= food.colour
What colour is {x}?
What is the colour of {x}?
Which colour does {x} have?
What colour does {x} have?
{x}是什么颜色的？
{x}的颜色是什么？
{x}看上去是什么颜色？
{x}是哪种颜色？

= food.ingredient
What is {x} made from?
What is the main ingredient of {x}?
What do people make {x} from?
Which ingredient does {x} need most?
{x}是用什么做的？
{x}的主要原料是什么？
人们用什么做{x}？
做{x}主要要用什么？

= food.origin
Where does {x} come from?
Which place does {x} come from?
Where was {x} first made?
What is the home of {x}?
{x}来自哪里？
{x}是哪里的食物？
{x}最早是哪里做的？
{x}的产地是哪里？

= thing.material
What is the {x} made of?
Which material is the {x} made of?
What is the material of the {x}?
What do people make the {x} of?
{x}是用什么做的？
{x}是什么材料的？
{x}的材料是什么？
做{x}要用什么材料？

= thing.use
What is the {x} used for?
What is the {x} good for?
What do people use the {x} for?
What is the use of the {x}?
{x}是用来做什么的？
{x}有什么用？
人们用{x}做什么？
{x}的用途是什么？

= thing.colour
What colour is the {x}?
What is the colour of the {x}?
Which colour does the {x} have?
What colour does the {x} have?
{x}是什么颜色的？
{x}的颜色是什么？
{x}是哪种颜色？
{x}看上去是什么颜色？

= thing.maker
Who invented the {x}?
Who made the first {x}?
Who is the inventor of the {x}?
Whose invention is the {x}?
谁发明了{x}？
{x}是谁发明的？
{x}的发明人是谁？
第一个{x}是谁做的？
"""
