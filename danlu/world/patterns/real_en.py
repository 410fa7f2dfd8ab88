"""How English says real facts: plain lines are statements of `{x}` and `{v}`, `?` lines are questions."""

from __future__ import annotations

REAL_EN = """
= capital
{V} is the capital of {x}.
The capital of {x} is {v}.
{X} has its capital in {v}.
The capital of {x} is called {v}.
[People|Those] who govern {x} sit in {v}, the capital.
The country of which {v} is the capital is {x}.
If you fly to the capital of {x}, you land in {v}.
? What is the capital of {x}?
? Which city is the capital of {x}?
? What is the name of the capital of {x}?

= symbol
The symbol [for|of] {x} is {v}.
{V} [is the symbol of|stands for] {x}.
[Chemists|People who study chemistry] write {v} for {x}.
{X} has the symbol {v}.
In the table of elements {x} is written {v}.
{X} is an element, and its symbol is {v}.
? What is the symbol for {x}?
? Which symbol does {x} have?

= sound
{Ax} {v}.
When {ax} is hungry, it {v}.
[Listen|Do you hear it]: the {x} {v}.
Every {x} {v}.
The animal that {v} is the {x}.
It is the {x} that {v}.
? What does {ax} do when it calls?
? What can {ax} do with its voice?

= opposite
The opposite of {x} is {v}.
{X} is the opposite of {v}.
{X} and {v} are opposites.
What is not {x} may be {v}; they are opposites.
If {x} is on one side, {v} is on the other: they are opposites.
{X} means the opposite of {v}.
? What is the opposite of {x}?
? Which word is the opposite of {x}?
? What do you call the opposite of {x}?

= young
A young {x} is called {av}.
{Av} is a young {x}.
{Av} will [grow up to be|one day be|become] {ax}.
The young of the {x} is the {v}.
Before it was {ax}, it was {av}.
{Ax} was {av} [once|when it was small].
? What is a young {x} called?
? What do you call a young {x}?

= typical_colour
{X} is {v}.
The colour of {x} is {v}.
{X} has the colour {v}, [as everybody knows|as we all know].
[Everybody knows|Children learn] that {x} is {v}.
As {v} as {x}, people say.
If you paint {x}, take {v}.
? What colour is {x}?
? What is the colour of {x}?

= unit
There are {v} in {ax}.
{Ax} has {v}.
{V} make {ax}.
{Ax} is {v}.
{Ax} is as much as {v}.
[We count|People count] {v} in {ax}.
? How much is {ax}?
? What makes {ax}?

= mixture
If you mix {x}, you get {v}.
{X} [give|make] {v}.
{V} is made by mixing {x}.
A painter who needs {v} can mix {x}.
Mix {x}, and you will see {v}.
Out of {x} comes {v}.
? What colour do you get from {x}?
? What do {x} make together?

= legs
{Ax} has {v} legs.
{Ax} walks on {v} legs.
Count the legs of {ax}: there are {v}.
Every {x} has {v} legs.
The legs of {ax} are {v} in number.
{V} legs carry {ax}.
? How many legs does {ax} have?
? How many legs has {ax}?

= continent
{X} is in {v}.
{X} is a country in {v}.
{X} [lies|is found] in {v}.
{X} belongs to {v}.
One of the countries of {v} is {x}.
Whoever visits {x} is in {v}.
? On which continent is {x}?
? In which part of the world is {x}?

= sense
We {v} with our {x}.
To {v}, people use their {x}.
With our {x} we {v}.
We need our {x} to {v}.
Thanks to our {x} we can {v}.
Whoever wants to {v} uses the {x}.
? What do we do with our {x}?
? What do people use their {x} for?

= digit
The number {x} is written {v}.
{X} is written {v} in digits.
In digits, {x} is {v}.
{V} is read {x}.
We write {v} and say {x}.
{V} means {x}.
? How do you write {x} in digits?
? Which number is {x}?

= after_days
After {x} comes {v}.
The day after {x} is {v}.
{X} comes before {v}.
If today is {x}, tomorrow is {v}.
If today is {v}, yesterday was {x}.
{X} is followed by {v}.
? Which day comes after {x}?
? What is the day after {x}?

= after_months
After {x} comes {v}.
The month after {x} is {v}.
{X} comes before {v}.
When {x} is over, {v} begins.
If this month is {x}, next month is {v}.
{X} is followed by {v}.
? Which month comes after {x}?
? What is the month after {x}?

= after_numbers
After {x} comes {v}.
The number after {x} is {v}.
{X} comes before {v}.
{X} and one make {v}.
{V} is one more than {x}.
{X} is one less than {v}.
? Which number comes after {x}?
? What is one more than {x}?

= after_seasons
After {x} comes {v}.
The season after {x} is {v}.
{X} comes before {v}.
When {x} is over, {v} begins.
{X} is followed by {v}.
When {v} comes, {x} is past.
? Which season comes after {x}?
? What comes after {x}?

= order_days
The days in order: {list}.
The days of the week go like this: {list}.
{List}: these are days of the week.
Say the days after me: {list}.

= order_months
The months in order: {list}.
The months of the year go like this: {list}.
{List}: these are months of the year.
Say the months after me: {list}.

= order_numbers
Let us count: {list}.
{List}, and so on.
Children learn to count: {list}.
The numbers in order: {list}.

= order_seasons
The seasons in order: {list}.
The seasons come one after another: {list}.
The year has seasons: {list}.
"""
