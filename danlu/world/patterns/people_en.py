"""How English says what is so about people and places.

`{x}` is the subject (`{X}` at the start of a sentence, `{xs}` `{Xs}` its possessive, `{o}` as object), which
may be a name or a pronoun; `{he}` `{his}` are always pronouns. `{v}` is the value, `{av}` with its article.
Plain lines are statements, `>` predicates that follow any subject, `<` the fact told from the value's side,
`*` the same for several subjects.
"""

from __future__ import annotations

PEOPLE_EN = """
= person.job
{X} [is|works as] {av}.
{X} [earns|makes] a living as {av}.
{X} is {av} by [trade|profession].
{Xs} [job|work] is that of {av}.
{X} [became|chose to become] {av} and [still is one|has been one ever since].
[Every day|Each morning|All week] {x} works as {av}.
What does {x} do [for a living|all day]? {He} is {av}.
As {av}, {x} [works hard|is always busy|knows everybody|is well known].
[People|The neighbours|Friends] know {o} as {av}.
If you need {av}, [call|ask for|go to] {o}.
{X} [learned the trade early|had a good teacher] and works as {av}.
> is {av}
> works as {av}
> earns a living as {av}
> is {av} by trade
< One of those who [work|earn a living] as {av} is {x}.
< Who is {av}? {X} is one.
< Looking for {av}? {X} is {av}.
< {Av} [called|named] {x}: everybody has heard of {him}.
* {list} {all} work as {v}s.
* The [list|register] of {v}s has these names: {list}.
* Who works as {av}? {list} do.

= person.home
{X} [lives|has lived for years|is at home] in {v}.
{Xs} [home|house] is in {v}.
{X} has a [house|home|small house|room] in {v}.
You [will|can] find {o} in {v}, where {he} lives.
Where does {x} [live|stay]? In {v}.
{V} is where {x} lives.
{X} [moved to|settled in|came to] {v} and [lives there still|made a home there].
[Every evening|After work|At night] {x} goes home to {v}.
In {v} [stands|there is] a house, and {x} lives in it.
{Xs} letters are [sent|addressed] to {v}, where {he} lives.
{X} calls {v} {his} home.
> lives in {v}
> has a home in {v}
> has a house in {v}
> is at home in {v}
< One of the people of {v} is {x}.
< Who lives in {v}? {X} does.
< Among those who live in {v} is {x}.
< The people of {v} count {x} among their own.
* {list} {all} live in {v}.
* Who lives in {v}? {list} live there.
* The people of {v} are {list}.
* {V} is the home of {list}.

= person.pet
{X} [has|keeps|owns] {av}.
{X} has {av} [as a pet|for a pet].
{Xs} pet is {av}.
{X} [keeps|looks after|takes care of] a pet {v}.
{X} [feeds|brushes|plays with|talks to] {his} pet, {av}, every day.
What pet does {x} keep? {He} keeps {av}.
{Av} lives in {xs} house; it is {his} pet.
[At home|In the house] {x} keeps {av}.
Of all animals {x} chose {av} for a pet.
The pet that {x} [loves|keeps] is {av}.
{X} never travels without {his} {v}, the pet {he} loves.
> keeps {av}
> has {av} as a pet
> owns {av}
> has a pet {v}
< One of those who keep {av} is {x}.
< Who keeps {av}? {X} does.
< {Av} is the pet of {x}.
< There is a pet {v} that belongs to {x}.
* {list} each keep a pet {v}.
* Who has a pet {v}? {list} do.
* A pet {v} can be seen in the houses of {list}.

= person.favourite_food
{Xs} favourite food is {v}.
{X} [likes|loves] {v} best of all foods.
{X} [likes|loves] {v} more than any other food.
[Of all foods|Of all dishes|At table] {x} likes {v} best.
There is nothing {x} [would rather eat|likes to eat more] than {v}.
{X} [could|would] eat {v} every day; it is {his} favourite food.
What does {x} like to eat? {V}, {his} favourite.
{V} is {xs} favourite food.
{V} is what {x} likes to eat [best|most].
On {his} birthday {x} always asks for {v}, {his} favourite food.
If {x} is hungry, give {him} {v}, {his} favourite food.
> likes {v} best of all foods
> loves {v} more than any other food
> would eat {v} every day
> has {v} as a favourite food
< {V} is the favourite food of {x}.
< Who likes {v} best? {X} does.
< One of those who love {v} is {x}.
* {V} is the favourite food of {list}.
* {list} {all} like {v} best.
* Who loves {v}? {list} do.

= person.favourite_colour
{Xs} favourite colour is {v}.
{X} likes [{v}|the colour {v}] best.
[Of all colours|Among the colours] {x} likes {v} best.
{X} [likes|loves] {v} more than any other colour.
{X} [wears|buys|chooses] {v} things, because {v} is {his} favourite colour.
Which colour does {x} like? {V}.
{V} is the colour {x} likes [best|most].
{V} is {xs} favourite colour.
{Xs} door is {v}, for {v} is the colour {he} likes best.
When {x} [paints|draws], {he} takes {v}, {his} favourite colour.
> likes {v} best of all colours
> loves the colour {v}
> has {v} as a favourite colour
> prefers {v} to any other colour
< {V} is the favourite colour of {x}.
< Who likes {v} best? {X} does.
< One of those who love the colour {v} is {x}.
* {V} is the favourite colour of {list}.
* {list} {all} like the colour {v} best.
* Whose favourite colour is {v}? That of {list}.

= person.age
{X} is {v} years old.
{X} is {v}.
{X} is now {v} years [old|of age].
{Xs} age is {v}.
{X} has [lived for|seen] {v} years.
{X} [turned|became] {v} [this year|not long ago].
How old is {x}? {V} years old.
At [the age of {v}|{v}], {x} [is full of life|still learns every day|likes to tell stories|is happy].
On {xs} last birthday cake there were {v} candles.
{X} was born {v} years ago.
> is {v} years old
> is now {v}
> has reached the age of {v}
> turned {v} this year
< A person aged {v} is {x}.
< Who is {v} years old? {X} is.
< One of those aged {v} is {x}.
* {list} are {all} {v} years old.
* Who is {v}? {list} are.
* The age of {list} is {v}.

= person.friend
{Xs} best friend is {v}.
{X} and {v} are best friends.
{X} is best friends with {v}.
{V} is {xs} best friend.
{V} is the best friend {x} has.
The best friend of {x0} is {v}.
Who is {xs} best friend? {V}.
If {x} has a secret, {he} tells {his} best friend, {v}.
{X} and {his} best friend, {v}, [meet every week|often walk together|write to each other|grew up together].
{X} [found|met] {his} best friend, {v}, [long ago|at school|as a child].
Nobody is closer to {o} than {v}, {his} best friend.
> is best friends with {v}
> has {v} as a best friend
> calls {v} a best friend
< {V} is the best friend of {x}.
< The best friend of {v} is {x}.
< {V} has a best friend, and that is {x}.
* {V} is the best friend of {list}.

= person.instrument
{X} plays the {v}.
{X} can play the {v}.
{X} [knows how|has learned|likes] to play the {v}.
{Xs} instrument is the {v}.
{X} [practises|plays] the {v} [every day|every evening|after supper|on Sundays].
What instrument does {x} play? The {v}.
[At feasts|At weddings|In the evening] {x} plays the {v}.
The {v} is the instrument {x} plays.
If you hear {av}, it may be {x}, who plays it [well|gladly|every night].
{X} [took|had] lessons and now plays the {v}.
Give {o} {av} and {he} will play it.
> plays the {v}
> can play the {v}
> has learned to play the {v}
> makes music on the {v}
< One of those who play the {v} is {x}.
< Who plays the {v}? {X} does.
< The {v} is played by {x}.
* {list} {all} play the {v}.
* Who plays the {v}? {list} do.
* The {v} is the instrument of {list}.

= place.region
{X} [is|lies] in the {v}.
{X} is {a_sort} in the {v}.
{X} is [found|to be found] in the {v}.
The {sort} {x0} lies in the {v}.
Where is {x}? In the {v}.
If you travel to the {v}, you [come to|will find] {x0}.
In the {v} lies {x0}.
{Xs} place on the map is in the {v}.
People in the {v} know the place well, for {x0} is there.
The way to {x0} leads [to|into] the {v}.
> lies in the {v}
> is in the {v}
> is to be found in the {v}
< In the {v} there is {a_sort} called {x}.
< One of the places in the {v} is {x}.
< Which {sort} is in the {v}? {X} is one.
* {list} {all} lie in the {v}.
* In the {v} you find {list}.
* Which places are in the {v}? {list}.

= place.river
{X} [lies|is|stands] on the {v}.
The {v} [runs|flows] through {x0}.
The river of {x0} is the {v}.
{X} was built [on|beside] the {v}.
Which river runs through {x}? The {v}.
Children of {x0} [swim in|fish in|play by] the {v}.
Boats come to {x0} on the {v}.
The bridge of {x0} crosses the {v}.
From {x0} you [see|hear] the {v}, on which it lies.
{X} [takes|gets] its water from the {v}.
> lies on the {v}
> stands on the {v}
> takes its water from the {v}
< On the {v} lies {x}.
< The {v} [passes|reaches|waters] {x}.
< One of the places on the {v} is {x}.
* {list} {all} lie on the {v}.
* The {v} runs through {list}.
* Which places are on the {v}? {list}.

= place.known_for
{X} is [known|famous] for {v}.
{X} is [known|famous] for its {v}.
Everybody [knows|wants|asks for] the {v} of {x0}.
People [come to|travel to|visit] {x0} to buy {v}.
What is {x} [known|famous] for? For its {v}.
{X} [sells|makes] {v} and is known for it.
If you want good {v}, go to {x0}.
The market of {x0} is full of {v}.
{X} lives from its {v}.
You get the best {v} [in the country|of all] in {x0}.
> is known for {v}
> is famous for its {v}
> sells good {v}
> makes its money with {v}
< A place that is known for {v} is {x}.
< Where do people buy {v}? In {x}.
< The place of {v} is {x}.
* {list} are {all} known for {v}.
* Good {v} can be had in {list}.
* Where do people buy {v}? In {list}.

= place.founded
{X} was [founded|built] in {v}.
{X} was [founded|built] in the year {v}.
{X} [began|started] in {v}.
The year in which {x0} was founded is {v}.
When was {x} founded? In {v}.
The first houses of {x0} were built in {v}.
A stone in {x0} [shows|bears] the year {v}, when it was founded.
In {v} people [founded|built|settled] {x0}.
Since {v} there has been {a_sort} called {x0}.
The history of {x0} begins in {v}.
> was founded in {v}
> was built in the year {v}
> has stood there since {v}
< The year {v} is the year in which {x} was founded.
< In {v} {x} was founded.
< Which {sort} was founded in {v}? {X}.
* {list} were {all} founded in {v}.
* In {v} people founded {list}.

= place.mayor
The mayor of {x0} is {v}.
{V} is the mayor of {x0}.
{Xs} mayor is {v}.
{X} is governed by {v}.
The people of {x0} chose {v} as mayor.
Who is the mayor of {x0}? {V}.
{V} governs {x0}.
In {x0} the mayor is [called|named] {v}.
When the people of {x0} have a question, they go to {v}, the mayor.
{X} has a mayor, {v}.
> has {v} as mayor
> is governed by {v}
> chose {v} as mayor
< {V} is the mayor of {x}.
< {V} [sits in the town hall of|governs] {x}.
< As mayor, {v} looks after {x}.
* {V} is the mayor of {list}.
"""
