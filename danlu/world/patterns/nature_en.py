"""How English says what is so about animals, foods and things; the marks are those of `people_en`.

`{n}` is the bare noun of an animal or a thing and `{ns}` its plural; both stay what they are where `{x}` has
become a pronoun.
"""

from __future__ import annotations

NATURE_EN = """
= animal.colour
{X} is {v}.
{X} has {v} [fur|hair].
The colour of {x0} is {v}.
The [fur|coat] of {x0} is {v}.
{Ns} are {v}.
What colour is {x}? {V}.
[In the sun|From far away|At night] {x} [looks|shines] {v}, for {v} is its colour.
You know {o} by its {v} fur.
Children paint {o} {v}, because that is its colour.
You never see {a0} that is not {v}.
If you see {v} fur, it may be {a0}.
> is {v}
> has {v} fur
> is {v} all over
< {Av} animal is {x}.
< Which animal is {v}? {X}.
< One of the {v} animals is {x}.
* {List} are {all} {v}.
* Which animals are {v}? {List}.
* {V} is the colour of {list}.

= animal.diet
{X} eats {v}.
{X} [lives|feeds] on {v}.
The food of {x0} is {v}.
{Ns} [eat|like to eat|are fond of] {v}.
[Every morning|All day|At night] {x} looks for {v} to eat.
What does {x} eat? {V}.
{V}: that is what {x} eats.
If you have {a0}, give it {v} to eat.
{X} is happy when it has {v} to eat.
When {x} is hungry, it walks far to eat {v}.
{X} eats nothing but {v}.
> eats {v}
> feeds on {v}
> lives on {v}
< With {v} you can feed {x}.
< Which animal eats {v}? {X} does.
< One of the animals that eat {v} is {x}.
* {List} {all} eat {v}.
* You can feed {v} to {list}.
* Which animals eat {v}? {List}.

= animal.habitat
{X} lives in {v}.
{X} makes its home in {v}.
{X} [is found|can be found|sleeps] in {v}.
The home of {x0} is in {v}.
{Ns} live in {v}.
Where does {x} live? In {v}.
[If you want|Those who want] to see {a0} must look in {v}, where it lives.
In {v} lives {x0}.
You [meet|see] {o} in {v}, its home.
{X} was born in {v} and lives there.
In {v} you can hear {ns} [calling|sing|at night]; they live there.
> lives in {v}
> makes its home in {v}
> is found in {v}
< In {v} you can find {x}.
< Which animal lives in {v}? {X} does.
< One of the animals that live in {v} is {x}.
* {List} {all} live in {v}.
* In {v} you find {list}.
* Which animals live in {v}? {List}.

= animal.legs
{X} has {v} legs.
{X} [walks|runs|stands] on {v} legs.
{Ns} have {v} legs.
The legs of {x0} number {v}.
How many legs does {x} have? {V}.
Count the legs of {x0}: there are {v}.
{X} has {v} legs and [runs fast|jumps high|climbs well|leaves small tracks].
With its {v} legs {x} [runs fast|can climb|digs in the ground].
{A0} is an animal with {v} legs.
{Xs} legs are {v} in number.
> has {v} legs
> walks on {v} legs
> stands on {v} legs
< An animal with {v} legs is {x}.
< Which animal has {v} legs? {X} has.
< {V} legs carry {x}.
* {List} {all} have {v} legs.
* Which animals have {v} legs? {List}.
* {V} is the number of legs of {list}.

= animal.lifespan
{X} lives for {v} years.
{X} [can live|lives] {v} years.
The life of {x0} lasts {v} years.
{Ns} live for {v} years.
How long does {x} live? {V} years.
{X} [reaches|gets to] the age of {v} years.
After {v} years {a0} is old and dies.
{A0} that is born today will live {v} years.
A long life for {a0} is {v} years.
{Xs} span of life is {v} years.
> lives for {v} years
> can live {v} years
> reaches the age of {v}
< An animal that lives {v} years is {x}.
< Which animal lives {v} years? {X} does.
< {V} years is the life of {x}.
* {List} {all} live for {v} years.
* {V} years is the life of {list}.

= food.taste
{X} tastes {v}.
{X} has {av} taste.
{X} is {v}.
The taste of {x0} is {v}.
[Everyone says that|People say that] {x} tastes {v}.
What does {x} taste like? It is {v}.
[Try|Taste] {o}: it is {v}.
Those who like {v} food will like {x0}.
The first spoon of {x0} tells you that it is {v}.
[Hot or cold|Fresh or old], {x} tastes {v}.
> tastes {v}
> has {av} taste
> is {v}
< One of the foods that taste {v} is {x}.
< Which food is {v}? {X} is.
< If you want something {v}, eat {x}.
* {List} {all} taste {v}.
* Which foods are {v}? {List}.
* If you like {v} food, eat {list}.

= food.colour
{X} is {v}.
{X} has {av} colour.
The colour of {x0} is {v}.
{X} [looks|is always] {v}.
What colour is {x}? {V}.
On the plate {x} is {v}.
You know {o} by its {v} colour.
{X} turns {v} [in the oven|in the pot|when it is ready], and that is its colour.
Cooks want their {x0} {v}, for that is its colour.
Good {x0} must be {v}.
> is {v}
> has {av} colour
> looks {v}
< One of the {v} foods is {x}.
< Which food is {v}? {X} is.
< A food of the colour {v} is {x}.
* {List} are {all} {v}.
* Which foods are {v}? {List}.
* {V} is the colour of {list}.

= food.ingredient
{X} is made from {v}.
{X} is made with {v}.
The main ingredient of {x0} is {v}.
{X} [contains|needs] a lot of {v}.
[To make|If you make|For] {x0} you need {v}.
What is {x} made from? Mostly {v}.
{V} is the main ingredient of {x0}.
Cooks [take|use] {v} to make {x0}.
Without {v} nobody can make {x0}.
Buy {v} if you want to cook {x0}.
> is made from {v}
> has {v} as its main ingredient
> contains a lot of {v}
< {V} is what {x} is made from.
< Which food is made from {v}? {X} is.
< From {v} people make {x}.
* {List} are {all} made from {v}.
* From {v} people make {list}.
* Which foods are made from {v}? {List}.

= food.origin
{X} comes from {v}.
{X} [was first made|was first cooked|has its origin] in {v}.
{X} is a dish from {v}.
The home of {x0} is {v}.
Where does {x} come from? From {v}.
It was in {v} that people first made {x0}.
{V} is the place where {x} comes from.
In {v} [they cook|people make|every cook makes] {x0}, which comes from there.
Travellers brought {x0} from {v}, where it comes from.
[Cooks from|People in] {v} are proud of {x0}, which comes from there.
> comes from {v}
> was first made in {v}
> has its origin in {v}
< From {v} comes {x}.
< A dish that comes from {v} is {x}.
< Which food comes from {v}? {X} does.
* {List} {all} come from {v}.
* From {v} come {list}.
* Which foods come from {v}? {List}.

= thing.material
{X} is made of {v}.
{Ns} are made of {v}.
The material of {x0} is {v}.
[To make|To build] {a0}, you need {v}.
What is {x} made of? Of {v}.
People [use|take] {v} to make {x0}.
[Every good|Every real] {n} is made of {v}.
{V} is the material of {x0}.
{X} is [not cheap|easily known|loved by many], because it is made of {v}.
The first {n} was made of {v}, and so is every {n} since.
> is made of {v}
> is built of {v}
> consists of {v}
< A thing made of {v} is {x}.
< What is made of {v}? {X} is.
< Of {v} people make {x}.
* {List} are {all} made of {v}.
* Of {v} people make {list}.
* What is made of {v}? {List}.

= thing.use
{X} is used for {v}.
People use {o} for {v}.
{X} [is good|serves] for {v}.
{Ns} are used for {v}.
The use of {x0} is {v}.
What is {x} for? For {v}.
For {v} you need {a0}.
{A0} is a tool for {v}.
{X} was invented for {v}.
Whoever thinks of {v} buys {a0}.
> is used for {v}
> is a tool for {v}
> serves for {v}
< A tool for {v} is {x}.
< What is used for {v}? {X} is.
< For {v} people use {x}.
* {List} are {all} used for {v}.
* For {v} people use {list}.
* What is used for {v}? {List}.

= thing.colour
{X} is {v}.
{Ns} are {v}.
The colour of {x0} is {v}.
{X} is always painted {v}.
{X} has {av} colour.
What colour is {x}? {V}.
You know {o} by its {v} colour.
In the shop {x} is easy to find: it is {v}.
[Every real|Every good] {n} must be {v}.
Nobody has seen {a0} that was not {v}.
> is {v}
> has {av} colour
> is painted {v}
< One of the {v} things is {x}.
< Which tool is {v}? {X} is.
< A thing of the colour {v} is {x}.
* {List} are {all} {v}.
* Which things are {v}? {List}.
* {V} is the colour of {list}.

= thing.maker
{X} was invented by {v}.
{V} invented {x0}.
The inventor of {x0} is {v}.
{V} made the first {n}.
{V} is the inventor of {x0}.
Who invented {x0}? {V} did.
The first {n} was made by {v}.
It was {v} who invented {x0}.
The idea for {x0} came from {v}, who invented it.
We owe {o} to {v}, its inventor.
> was invented by {v}
> is an invention of {v}
> was first made by {v}
< One invention of {v} is {x}.
< What did {v} invent? {X}.
< {V} is known as the inventor of {x}.
* {V} invented {list}.
* What did {v} invent? {List}.
* The inventions of {v} are {list}.
"""
