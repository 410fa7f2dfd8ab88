"""English plots: what somebody wants, what stands in the way, what they try, how it turns out, how it feels.

A line before the colon names the beat; a plot's header says whether the second person is the best friend, or
somebody of the other sex, so that he and she stay clear. `ask` holds a question about the story and
its answer, after words without which the story does not answer it.
"""

from __future__ import annotations

from danlu.world.wording import lines

OPENINGS = lines("""
    {a} is {a_a_job} [in|from] {a_home}.
    In {a_home} lives {a_a_job} whose name is {a}.
    {a}, {a_a_job}, lives in {a_home}.
    This is a [story|tale] about {a}, who lives in {a_home}.
    {a} is {a_age} years old and works as {a_a_job}.
    {a} lives in {a_home} with {a_a_pet}.
    Everyone in {a_home} knows {a}, the {a_job}.
    There is {a_a_job} in {a_home}. {A_his} name is {a}.
    {a} plays the {a_instrument} and lives in {a_home}.
    In {a_home} people like to tell this story about {a}.
    {a}, who is {a_age} years old, lives in {a_home}.
    Do you know {a}? {A_he} is {a_a_job}, and this happened to {a_him}.
""")
TIMES = lines("""
    One [cold|warm|windy|grey|bright|quiet] [morning|day|evening],
    [Last week|Last winter|Last spring|Last summer|Yesterday|On Monday|On Sunday],
    One day,
    Early in the morning,
    After [lunch|breakfast|work|supper],
    When the [snow|rain|summer|night] came,
    On a [market day|holiday|rainy day],
""")
BETWEEN = lines("""
    The wind [blew|was cold], but {a_1} did not [give up|go home|stop].
    It [was not easy|took a long time|was hard work].
    {a_1} [thought about it|sat down and thought] for a while.
    "I must try [again|once more]," said {a_1}.
    "There is always a way," {a_1} said.
    The clock on the wall [struck|showed] [three|five|nine].
    [A dog barked|A bird sang|A bell rang] somewhere.
    People in the street [stopped to look|shook their heads|wished {a_him} luck].
    {a_1} [took a deep breath|drank some water] and [went on|began again].
    Nobody [else knew|could tell] what to do.
""")
ENDINGS = lines("""
    {a_1} [never forgot that day|still talks about that day].
    That night {a_1} slept [well|like a stone].
    {a_1} [smiled|laughed|sang] all the way home.
    "It was worth it," said {a_1}.
    And that is the end of the story.
    In the evening {a_1} played the {a_instrument} [for joy|by the fire].
    Later {a_1} had a [big|warm] plate of {a_food}, {a_his} favourite food.
    Since then {a_1} has been [more careful|less afraid|much happier].
""")
PLOTS = """
    @lost_pet other
    want: {time} {a_1} could not find {a_his} {a_pet}. {A_he} wanted it back before dark.
    want: {time} the {a_pet} of {a_1} ran away, and {a_1} [wanted|hoped] to bring it home.
    want: {time} {a_1} came home and the {a_pet} was gone. {A_he} [had to find it|went out to look for it].
    trouble: But the streets were [dark|wet|full of people] and nobody had seen the animal.
    trouble: But it was raining, and the rain had washed its [tracks|footprints] away.
    trouble: The trouble was that it was [small and quick|good at hiding] and made no sound.
    try: First {a_1} looked [under the bed|behind the house|in the yard]. Then {a_he} asked {b} for help.
    try: {a_1} called its name again and again and put some food on the step.
    try: {a_1} took a lamp and searched every [garden|street|corner] as far as the bridge.
    turn: At last {a_1} heard a small sound. The {a_pet} was [in a basket|under a boat|in the barn].
    turn: In the end it came back by itself and [scratched at|waited at] the door.
    turn: {b} had found it [near the river|at the market] and brought it home in a basket.
    end: {a_1} was so [happy|glad] that {a_he} [cried|danced].
    end: {a_1} held it tight. {A_he} was [not sad any more|very thankful].
    ask: What had {a_1} lost? {A_his} {a_pet}.
    ask: Who was looking for the {a_pet}? {a} was.

    @cooking friend
    want: {time} {a_1} wanted to make {a_food} for {b}, {a_his} best friend.
    want: {time} {b}, the best friend of {a_1}, was coming to visit. {a_1} planned to serve {a_food}.
    want: {time} {a_1} promised to cook {a_food} for {a_his} best friend, {b}.
    trouble: But {a_food} is made from {ingredient}, and there was no {ingredient} in the house.
    trouble: But when {a_1} opened the cupboard, the {ingredient} for the {a_food} was [gone|all used up].
    trouble: For that {a_he} needed {ingredient}. The shop had [sold the last of it|closed an hour ago].
    try: {a_1} went from door to door and asked the neighbours for some {ingredient}.
    try: {a_1} tried to [borrow|buy] some {ingredient} at the inn. At first the cook said no.
    try: {a_1} walked to the market in the rain, with an old basket on one arm.
    turn: An old woman gave {a_him} what {a_he} needed, and soon the whole house smelled good.
    turn: In the end a [farmer|neighbour] came by with {ingredient}, and the pot was soon on the fire.
    turn: {a_1} came back with empty hands. But {b_1} had brought some {ingredient} along!
    end: They ate together until late. {a_1} felt [proud|happy and full].
    end: "This is the best {a_food} I have ever had," said {b_1}. {a_1} was [proud|pleased].
    ask: What did {a_1} want to cook? {a_food}.
    ask: What was missing? The {ingredient}.
    ask: For whom did {a_1} cook? For {b}.

    @broken_thing other
    want: {time} {a_1} needed {a_his} {thing}, the {thing_colour} one that is used for {use}.
    want: {time} {a_1} wanted to use {a_his} {thing} for {use}.
    want: {time} there was a lot of work to do, and {a_1} looked for {a_his} {thing}. It is used for {use}.
    trouble: But it was broken. A piece of {material} [had come off|was missing].
    trouble: But it [fell|slipped] from {a_his} hands, and the {material} cracked.
    trouble: It did not work any more, and nobody in {a_home} could [repair|fix] it.
    try: {a_1} tried to mend it with [string|glue|a nail], but it broke again.
    try: {a_1} carried it to {b}, who is [good at|known for] repairing things.
    try: {a_1} worked on it the whole night with a small hammer.
    turn: {b} found the fault at once. After an hour the {thing} was as good as new.
    turn: In the end {a_1} made the missing part out of {material}, and then it worked.
    turn: It could not be saved. So {b} lent {a_him} another {thing}.
    end: {a_1} was glad and went back to work with a light heart.
    end: {a_1} was tired but [content|happy]. {A_he} put the {thing} in a safe place.
    ask: What was broken? The {thing}.
    ask: What is the {thing} used for? It is used for {use}.

    @music other
    want: {time} {a_1} was asked to play the {a_instrument} at a [wedding|feast|school].
    want: {time} {a_1} wanted to learn a new song on the {a_instrument} before the feast.
    want: {time} {a_1} dreamed of playing the {a_instrument} in front of the whole town.
    trouble: But {a_his} hands shook as soon as somebody [listened|looked].
    trouble: But the song was [too fast|too hard], and {a_he} made [many|a hundred] mistakes.
    trouble: But the neighbours could not sleep and asked {a_him} to stop.
    try: So {a_1} practised every [evening|morning] in the [barn|forest], where only the birds could hear.
    try: {a_1} began again, slowly, one line a day.
    try: {a_1} asked {b} to sit in the room and listen until the fear went away.
    turn: When the day came, every note was right, and the people [clapped|stood up].
    turn: On the great day one [string|key] went wrong, but {a_he} laughed and played on. Everyone danced.
    turn: After [two|three] weeks {a_he} could play it with closed eyes.
    end: {a_1} was [not afraid any more|proud of the work].
    end: {b} was the first to shake {a_his} hand, and {a_1} was [very happy|red with joy].
    ask: Which instrument did {a_1} play? The {a_instrument}.
    ask: Was {a_1} happy in the end? Yes, {a_he} was.

    @garden other
    want: {time} {a_1} planted [beans|carrots|flowers|peas] behind the house and wanted a [rich|big] harvest.
    want: {time} {a_1} wished for a garden full of [roses|cabbages|sunflowers].
    trouble: But the [birds|mice|snails] ate the seeds, and nothing grew.
    trouble: But there was no rain for [a month|six weeks], and the earth was as hard as stone.
    trouble: But a storm came and [broke the plants|washed the seeds away].
    try: {a_1} carried water from the river every morning, two [buckets|cans] at a time.
    try: {a_1} built a little fence and put a man of straw in the middle.
    try: {a_1} asked {b} for advice. "Be patient and water them in the evening," {b_he} said.
    turn: Slowly, green leaves came out of the ground. By autumn there was enough for everyone.
    turn: One morning the first [flower|leaf] opened, and then another and another.
    turn: Only one plant was left in the end, but it was the [tallest|finest] in {a_home}.
    end: {a_1} gave a basket of it to {b} and felt [rich|very pleased].
    end: {a_1} looked at the garden and was [glad|at peace].
    ask behind the house: Where did {a_1} plant something? Behind the house.
    ask gave a basket: To whom did {a_1} give a basket? To {b}.
    ask fence: What did {a_1} build? A little fence.
    ask carried water: What did {a_1} carry? Water from the river.

    @market other
    want: {time} {a_1} set out for {place} to buy some of the {product} that {place} is known for.
    want: {time} {a_1} wanted to go to {place}, a {place_sort} known for its {product}.
    want: {time} {a_1} had to be in {place} before noon, because the market there has the best {product}.
    trouble: But the bridge over the {river} was [broken|closed|under water].
    trouble: But fog lay over the {river}, and {a_he} [lost the way|could not see the road].
    trouble: But the wheel of the cart broke when {a_he} was [halfway|almost there].
    try: {a_1} walked along the water and looked for a [boat|shallow place].
    try: {a_1} asked {b}, who was [fishing|resting] there, to help.
    try: {a_1} left everything heavy behind and went on on foot.
    turn: With the help of {b}, {a_he} came to {place} just in time and bought what {a_he} wanted.
    turn: The market was over when {a_he} arrived, but one friendly seller opened the shop again.
    turn: In the end {a_he} slept under a tree and reached {place} the next day.
    end: {a_1} came home late, tired and [happy|full of stories].
    end: "Next time I will start earlier," said {a_1}. {A_he} was [not angry|only a little tired].
    ask: Where did {a_1} want to go? To {place}.
    ask: What is {place} known for? {place} is known for its {product}.
    ask: Which river did {a_1} have to cross? The {river}.

    @wild_animal other
    want: {time} {a_1} met {an_animal} and wanted to make friends with it.
    want: {time} {a_1} saw a young {animal} alone on the path and wanted to help it.
    want: {time} a hungry {animal} stood at the door of {a_1}. {A_he} [felt sorry for it|wanted to feed it].
    trouble: But the animal was [afraid|wild] and ran off on its {legs} legs.
    trouble: But {a_1} did not know what it [eats|likes]. It would not touch bread or milk.
    trouble: But it had hurt [its foot|one leg] and did not let anyone come near.
    try: {b} said, "The {animal} eats {diet}." So {a_1} went to get some.
    try: {a_1} remembered that the {animal} likes {diet} and put some on the ground.
    try: {a_1} sat still for an hour and [talked|sang] to it in a low voice.
    turn: Slowly the animal came closer and ate out of {a_his} hand.
    turn: In the end it grew strong again and went back to the {habitat}, where it lives.
    turn: The next day it was there again, and it was not afraid.
    end: {a_1} was happy to have a new friend.
    end: {a_1} missed it a little, but {a_he} was glad that it was [well|free].
    ask: What kind of animal was it? It was {an_animal}.
    ask: What does the {animal} eat? It eats {diet}.

    @quarrel friend
    want: {time} {a_1} and {b}, {a_his} best friend, wanted to [build a boat|write a song] together.
    want: {time} {a_1} planned a [journey|party|surprise] with {b}, {a_his} best friend.
    trouble: But they could not agree. One wanted to [start at once|do it this way], the other wanted to wait.
    trouble: But {b_1} came an hour late, and {a_1} said something unkind.
    trouble: But {a_1} forgot the [day|promise], and {b_1} went home angry.
    try: For two days they did not speak. Then {a_1} wrote a [letter|note] that began with "I am sorry".
    try: {a_1} knocked at the door of {b_1} with a cake, but nobody opened. The next day {a_1} knocked again.
    try: {a_1} asked a neighbour what to do. "Listen first, then talk," was the answer.
    turn: {b_1} opened the door and said, "I was wrong too."
    turn: They met by chance [on the bridge|at the well] and both began to laugh.
    turn: {b_1} read it, came over and brought two cups of tea.
    end: So they were friends again, and {a_1} felt [light|warm inside].
    end: They shook hands. {a_1} was [relieved|happy] that it was over.
    ask: Who is the best friend of {a_1}? {b}.
    ask: Were they friends in the end? Yes, they were.

    @paint other
    want: {time} {a_1} wanted to paint the [door|fence|boat|gate] {a_colour}, {a_his} favourite colour.
    want: {time} {a_1} wished for a [coat|hat] in {a_colour}, because that is {a_his} favourite colour.
    trouble: But in the shop there was every colour except {a_colour}.
    trouble: But it cost ten coins, and {a_he} had only [four|six|seven].
    trouble: But the neighbours said that nobody should use {a_colour}.
    try: {a_1} went to [three|four] other shops and asked.
    try: {a_1} worked for {b} for a week to earn the money.
    try: {a_1} wrote to the shop in the next town and waited.
    turn: {b} had something {a_colour} in an old box, just what was needed, and gave it away for nothing.
    turn: After ten days a parcel came, and it was just the right colour.
    turn: In the end {a_he} had enough money and bought it.
    end: {a_1} looked at it every morning and [smiled|was happy].
    end: Soon everybody in {a_home} wanted the same, and {a_1} was [proud|amused].
    ask: Which colour did {a_1} want? {a_colour}.
    ask: Why did {a_1} want that colour? It is {a_his} favourite colour.

    @swim other
    want: {time} {a_1} decided to learn to [swim|ride|skate|dance].
    want: {time} {a_1} said, "I want to learn to [swim|ride|climb] this year."
    trouble: But {a_he} was afraid of [falling|getting hurt|the cold].
    trouble: But everybody laughed because {a_he} was [slow|clumsy] at first.
    trouble: On the first day {a_he} [fell|hurt one knee] and wanted to go home.
    try: {b} stayed at {a_his} side and said, "One step at a time."
    try: Every [morning|evening] {a_he} practised alone, a little longer each day.
    try: {a_1} counted to three, closed {a_his} eyes and tried again.
    turn: After many days it suddenly went well, and {a_he} [shouted|laughed] with joy.
    turn: {A_he} fell nine times. The tenth time {a_he} did not.
    turn: In the end {a_he} could do it better than the others.
    end: {a_1} was [proud|brave now], and nobody laughed any more.
    end: "I was afraid, and I did it," said {a_1} [happily|proudly].
    ask afraid: Was {a_1} afraid at first? Yes, {a_he} was afraid.
    ask: Who helped {a_1}? {b} helped {a_him}.

    @lost_item other
    want: {time} {a_1} wanted to [lock the house|open an old box], but where was the key?
    want: {time} {a_1} put {a_his} hand in {a_his} pocket. The [ring|letter|money] was gone.
    trouble: {A_he} had been [to the baker and to the mill|in many places] that day and could not remember.
    trouble: It was already dark, and the lamp had no oil.
    trouble: There was a hole in the pocket, so it could be anywhere.
    try: {a_1} went back the same way, step by step, and looked at every stone.
    try: {a_1} asked {b}, who had seen {a_him} in the morning.
    try: {a_1} emptied every [drawer|bag|basket] in the house.
    turn: "Look in your hat," said {b}. And there it was!
    turn: It was where {a_he} had begun: on the kitchen table, under the newspaper.
    turn: A child came running and held it up. "Is this yours?"
    end: {a_1} laughed at {a_himself} and was [relieved|glad].
    end: {a_1} ate an apple and was [happy|merry] for the rest of the day.
    ask: Did {a_1} find it in the end? Yes, {a_he} did.
    ask glad: How did {a_1} feel in the end? {A_he} was glad.

    @help other
    want: {time} {a_1} was on {a_his} way to [the fair|a party|the theatre] and did not want to be late.
    want: {time} {a_1} was in a hurry to [reach the last boat|get home before the storm].
    trouble: Then {a_he} saw {b} at the roadside with a [heavy cart|broken wheel|hurt foot].
    trouble: Then {b} called for help: the [sheep|hens] had run into the road.
    trouble: But on the bridge stood {b}, who could not go on alone.
    try: {a_1} stopped, put down the bag and [pushed|helped] as hard as {a_he} could.
    try: At first {a_1} walked past. Then {a_he} turned round and [came back|offered help].
    try: "Wait, I will help you," said {a_1}, and they worked side by side.
    turn: When they had finished, it was too late. But {b_1} invited {a_him} to a warm supper.
    turn: It took only half an hour, and {b_1} drove {a_him} there in the cart.
    turn: {b_1} thanked {a_him} and gave {a_him} a basket of pears.
    end: {a_1} had missed something and gained [a friend|something better], and {a_he} was [content|happy].
    end: {a_1} felt [good|warm] the whole evening.
    ask: Whom did {a_1} help? {b}.
    ask hurry: Was {a_1} in a hurry? Yes, {a_he} was.
"""
