"""Write a corpus of small tales, one a line, from a seeded generator.

A tale is made by a plot: a function that says sentences about a protagonist
(P), a helper (Q) and sometimes a third character (R), in a setting with a
season and weather.  Sentences are templates: `[a|b]` is a choice (may nest),
`{name}` a value, and « » are quotation marks.  A character's first mention
introduces it ("a little fox named Pip"); later ones use its short name.
"""

import argparse
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

GIRLS = (
    "Anna Lily Mia Rosa Nora Ella Clara Ida Maya Zoe Lucy Emma Sara Ruby Tess Hana Leila "
    "Ines Freya Molly Ada Ivy Pia Wendy"
).split()
BOYS = (
    "Tom Ben Sam Max Leo Finn Oskar Theo Hugo Noah Jack Luca Milo Emil Karl Omar Amir Ravi "
    "Kenji Otto Nils Will Peter Tim"
).split()
PET_GIRLS = "Hazel Clover Willow Poppy Fern Daisy Olive Maple Nutmeg Tilly Dot Luna".split()
PET_BOYS = "Pip Rusty Bramble Biscuit Button Moss Bruno Pebble Acorn Toby Barley Fitz".split()

PRONOUNS = {
    "he": ("he", "him", "his", "himself"),
    "she": ("she", "her", "her", "herself"),
    "it": ("it", "it", "its", "itself"),
}

# species | adjectives | habitats | home | food | gait | kind | size
ANIMAL_TABLE = """
fox|little,red,young,clever|forest,meadow|a den under an old oak|blackberries|trotted|paw|3
rabbit|little,brown,young,shy|meadow,garden,forest|a burrow under the hedge|sweet clover|hopped|paw|2
hedgehog|little,round,shy,sleepy|garden,forest,meadow|a nest of dry leaves|crunchy apples|shuffled|paw|1
mouse|little,grey,tiny,brave|farm,garden,meadow,forest|a hole behind a stone wall|crumbs of cheese|scurried|paw|1
squirrel|little,red,quick,young|forest,garden|a nest in a hollow tree|hazelnuts|scampered|paw|2
bear|big,brown,gentle,sleepy|forest,mountain|a cave behind the waterfall|golden honey|walked|paw|5
bear cub|little,brown,curious,playful|forest,mountain|a cave behind the waterfall|golden honey|ran|paw|3
badger|old,grumpy,kind,quiet|forest,meadow|a deep, warm sett|roasted chestnuts|walked|paw|3
owl|old,wise,young,small|forest,farm|a hole in an old tree|warm seed cakes|flew|bird|2
robin|little,cheerful,young,small|garden,forest,farm|a nest in the ivy|bread crumbs|flew|bird|1
sparrow|little,brown,noisy,young|garden,farm,meadow|a nest under the roof|yellow seeds|flew|bird|1
crow|old,clever,black,young|farm,meadow,mountain|a nest at the top of a tall tree|ripe cherries|flew|bird|2
duck|little,white,young,funny|pond,farm|a nest in the reeds|soft bread|waddled|bird|2
frog|little,green,young,cheerful|pond,garden|a cool place under a lily pad|juicy berries|hopped|other|1
turtle|old,slow,green,kind|pond,garden|a quiet bank by the water|fresh green leaves|crawled|other|2
otter|little,playful,brown,young|pond,sea|a holt under the bank|silver fish|ran|paw|3
beaver|busy,young,strong,brown|pond,forest|a lodge made of sticks|crisp twigs|walked|paw|3
deer|young,gentle,quiet,shy|forest,meadow|a clearing full of ferns|soft grass|walked|hoof|4
goat|little,white,stubborn,young|mountain,farm|a shed on the hill|thick green grass|climbed|hoof|3
lamb|little,white,woolly,young|farm,meadow,mountain|a barn with a red door|sweet grass|ran|hoof|2
pony|little,brown,gentle,young|farm,meadow|a stable with a green door|red apples|trotted|hoof|4
donkey|old,grey,patient,kind|farm,mountain|a stable beside the barn|orange carrots|walked|hoof|4
cat|little,grey,black,curious|farm,garden,sea|a basket by the stove|warm milk|crept|paw|2
puppy|little,brown,playful,spotted|farm,garden,sea|a kennel beside the gate|crunchy biscuits|ran|paw|2
hen|little,white,busy,speckled|farm|a henhouse full of straw|golden corn|walked|bird|2
goose|big,white,proud,kind|farm,pond|a nest by the gate|barley|waddled|bird|3
mole|little,shy,quiet,old|garden,meadow|a tunnel under the lawn|sweet roots|shuffled|paw|1
snail|little,slow,patient,tiny|garden,pond|a flowerpot by the wall|wet lettuce|crawled|other|1
bee|little,busy,tiny,cheerful|garden,meadow|a hive in the apple tree|sweet nectar|flew|insect|1
butterfly|little,blue,yellow,gentle|garden,meadow|a bush full of flowers|sweet nectar|flew|insect|1
penguin|little,young,funny,cheerful|snow|a nest of smooth stones|silver fish|waddled|bird|2
seal|little,grey,young,playful|sea,snow|a flat rock by the water|silver fish|slid|other|3
polar bear|big,white,gentle,young|snow|a cave of ice|frozen berries|walked|paw|5
snow hare|little,white,quick,shy|snow,mountain|a hollow under a snowy bush|dry moss|hopped|paw|2
crab|little,red,careful,shy|sea|a hole under a flat stone|green seaweed|hurried|other|1
gull|young,white,noisy,clever|sea|a nest on the cliff|silver fish|flew|bird|2
elephant|little,big,gentle,young|jungle|a clearing under tall trees|ripe bananas|walked|hoof|5
monkey|little,quick,funny,young|jungle|a nest of leaves in a tall tree|ripe mangoes|swung|paw|2
parrot|green,noisy,old,young|jungle|a hollow branch|sweet seeds|flew|bird|2
tiger cub|little,striped,brave,playful|jungle|a cave behind the vines|fresh fish|crept|paw|3
dragon|little,young,green,shy|mountain,forest|a cave full of warm stones|hot pepper soup|flew|paw|4
swan|young,white,proud,gentle|pond|a nest in the rushes|green water plants|swam|bird|3
wolf cub|young,grey,brave,curious|forest,mountain|a den between the rocks|fresh fish|ran|paw|3
ladybird|little,red,tiny,cheerful|garden,meadow|a curled green leaf|drops of dew|flew|insect|1
ant|little,tiny,busy,strong|garden,forest,meadow|a hill of pine needles|sweet crumbs|hurried|insect|1
bat|little,shy,young,black|forest,farm|a corner of the old barn|sweet figs|flew|paw|1
tortoise|old,slow,wise,kind|jungle,garden|a shady place under a bush|ripe figs|crawled|other|2
"""

# place phrase | short place | water | high place | spots | things underfoot
HABITATS = {
    "forest": (
        "in a [quiet|green|deep|great] forest",
        "the forest",
        "the stream",
        "the hill",
        [
            "under the old oak",
            "behind the mossy rocks",
            "beside the stream",
            "among the ferns",
            "near the fallen log",
            "between the tall pines",
        ],
    ),
    "meadow": (
        "in a [wide|green|sunny] meadow",
        "the meadow",
        "the brook",
        "the hill",
        [
            "in the long grass",
            "behind the hedge",
            "beside the brook",
            "among the poppies",
            "under the old gate",
            "near the flat stone",
        ],
    ),
    "garden": (
        "in a [large|quiet|pretty] garden",
        "the garden",
        "the pond",
        "the wall",
        [
            "under the rose bush",
            "behind the shed",
            "among the cabbages",
            "beside the pond",
            "near the garden gate",
            "under the apple tree",
        ],
    ),
    "pond": (
        "by a [quiet|round|clear] pond",
        "the pond",
        "the pond",
        "the bank",
        [
            "among the reeds",
            "under the willow",
            "behind the grey stones",
            "beside the little bridge",
            "near the lily pads",
            "in the wet grass",
        ],
    ),
    "farm": (
        "on a [small|busy|sunny] farm",
        "the farm",
        "the duck pond",
        "the hill",
        [
            "behind the barn",
            "under the cart",
            "in the hay",
            "beside the well",
            "near the old fence",
            "under the apple tree",
        ],
    ),
    "sea": (
        "by the [blue|wide|shining] sea",
        "the beach",
        "the sea",
        "the cliff",
        [
            "behind the rocks",
            "under the old boat",
            "among the seaweed",
            "beside the rock pool",
            "near the pier",
            "in the soft sand",
        ],
    ),
    "mountain": (
        "high in the mountains",
        "the valley",
        "the waterfall",
        "the peak",
        [
            "behind the big boulder",
            "under the crooked pine",
            "beside the waterfall",
            "among the blue flowers",
            "near the old hut",
            "on the narrow path",
        ],
    ),
    "snow": (
        "in the [far|cold|white] north",
        "the snowy land",
        "the icy sea",
        "the ice hill",
        [
            "behind the blue iceberg",
            "under the snowy ledge",
            "beside the frozen pool",
            "among the smooth stones",
            "near the ice cave",
            "in the deep snow",
        ],
    ),
    "jungle": (
        "in a [warm|green|thick] jungle",
        "the jungle",
        "the river",
        "the hill",
        [
            "under the banana tree",
            "behind the hanging vines",
            "beside the river",
            "among the big leaves",
            "near the hollow log",
            "between the tall roots",
        ],
    ),
    "village": (
        "in a [small|quiet|little] village",
        "the village",
        "the river",
        "the hill",
        [
            "under the old bench",
            "behind the shed",
            "beside the well",
            "near the bridge",
            "in the garden",
            "under the apple tree",
        ],
    ),
    "town": (
        "in a [busy|small|old] town",
        "the town",
        "the river",
        "the bell tower",
        [
            "under the big clock",
            "behind the bakery",
            "beside the fountain",
            "near the school",
            "in the park",
            "on the market square",
        ],
    ),
    "harbour": (
        "in a [fishing village|small town|white house] by the sea",
        "the harbour",
        "the sea",
        "the cliff",
        [
            "under an old sail",
            "behind the boats",
            "beside the pier",
            "near the lighthouse",
            "in the sand",
            "among the nets",
        ],
    ),
    "cottage": (
        "in a [little|small|cosy] cottage [near the forest|at the edge of the forest]",
        "the woods",
        "the stream",
        "the hill",
        [
            "under the old pear tree",
            "behind the woodpile",
            "beside the stream",
            "near the old oak",
            "in the garden",
            "among the ferns",
        ],
    ),
}
HUMAN_PLACES = ("village", "town", "harbour", "cottage")

SEASONS = {
    "spring": (
        "Lambs were jumping in the fields.|The first flowers were opening.|Birds were building their nests.|"
        "The air smelled of wet earth and new leaves.|The trees were full of young leaves."
    ),
    "summer": (
        "A cuckoo called from far away.|Bees hummed in the warm air.|The sun was high and the sky was very blue.|"
        "The grass was tall and smelled sweet.|The days were long and warm."
    ),
    "autumn": (
        "Mushrooms had grown in the night.|Red and yellow leaves lay on the ground.|The air smelled of apples and smoke.|"
        "The nights were growing cold.|Geese were flying south across the grey sky."
    ),
    "winter": (
        "Long icicles hung down like glass.|Snow lay on everything like a white blanket.|The wind was cold and the sky was pale.|"
        "Frost sparkled in the light.|Everything was white and still."
    ),
}
WEATHERS = {
    "sunny": (
        "It was a bright and cheerful day.|The sun shone, and a soft wind was blowing.|There was not a cloud in the sky.|"
        "The light was warm and golden."
    ),
    "rainy": (
        "It had rained all night.|Rain drummed softly on the leaves.|The rain fell and fell, and every path was muddy.|"
        "Big drops fell from the grey sky."
    ),
    "windy": (
        "The wind sang in the trees.|The wind whistled and shook the branches.|The wind pushed the clouds across the sky.|"
        "Leaves danced in the wind."
    ),
    "foggy": (
        "One could hardly see ten steps ahead.|The fog was so thick that the trees looked like ghosts.|"
        "Everything was grey and quiet in the fog.|The world looked soft and strange."
    ),
    "snowy": (
        "The snow lay deep and soft.|Snow fell in large, soft flakes.|The snow made every sound quiet.|"
        "White flakes danced in the air."
    ),
}
SEASON_WEATHER = {
    "spring": ("sunny", "sunny", "rainy", "windy"),
    "summer": ("sunny", "sunny", "sunny", "rainy"),
    "autumn": ("sunny", "rainy", "windy", "foggy"),
    "winter": ("snowy", "snowy", "foggy", "sunny"),
}

TREASURES = [
    "red kite",
    "blue scarf",
    "silver bell",
    "wooden boat",
    "brass key",
    "green button",
    "woolly hat",
    "little drum",
    "paper lantern",
    "glass marble",
    "tin whistle",
    "yellow ball",
    "golden ring",
    "shiny coin",
    "blue feather",
    "white shell",
    "straw basket",
    "red ribbon",
    "blue cup",
    "yellow raincoat",
    "soft blanket",
    "story book",
    "round mirror",
    "small hammer",
    "fishing rod",
    "woolly sock",
    "painted egg",
    "toy horse",
    "tiny music box",
    "old compass",
    "wooden flute",
    "purple stone",
    "silver spoon",
    "red mitten",
]

MORALS = {
    "kindness": "A small kindness can go a long way.|Kindness always finds its way home.|"
    "It costs nothing to be kind.|Those who help others are never alone for long.",
    "patience": "Good things take time.|Those who wait often see the most wonderful things.|"
    "Little by little, great things are done.",
    "honesty": "The truth may be hard to say, but it makes the heart light.|"
    "It is better to tell the truth than to carry a secret.",
    "courage": "Being brave does not mean that you are never afraid.|"
    "Even the smallest heart can be brave.|Courage grows when you use it.",
    "sharing": "A meal tastes better when it is shared.|What you share, you never really lose.|"
    "There is always enough when friends share.",
    "friendship": "A good friend is worth more than gold.|With a friend, the longest road is short.|"
    "True friends come when you need them.",
    "listening": "It is wise to listen before you speak.|Sometimes the quietest voice is the wise one.",
    "practice": "Nobody can do everything the first time.|"
    "Those who try again and again will learn in the end.",
    "humility": "Nobody is too small to help, and nobody is too great to need it.|"
    "It is better to be kind than to be first.",
    "content": "Some things are lovely because nobody can own them.|"
    "Sometimes the best treasure is already near.",
    "home": "The best part of any journey is coming home.|" "However far you go, home is waiting for you.",
}


def split(text: str) -> list[str]:
    return text.split("|")


@dataclass
class Animal:
    species: str
    adjectives: list[str]
    habitats: list[str]
    home: str
    food: str
    gait: str
    kind: str
    size: int


def read_animals() -> list[Animal]:
    rows = []
    for line in ANIMAL_TABLE.strip().splitlines():
        name, adjectives, habitats, home, food, gait, kind, size = line.split("|")
        rows.append(
            Animal(name, adjectives.split(","), habitats.split(","), home, food, gait, kind, int(size))
        )
    return rows


ANIMALS = read_animals()
HOLD = {
    "paw": "in {} paws",
    "bird": "in {} beak",
    "hoof": "in {} mouth",
    "other": "in {} mouth",
    "insect": "with {} tiny legs",
    "child": "in {} hands",
}


@dataclass
class Character:
    """Someone in a tale and how the text speaks of them."""

    sex: str
    first: str
    short: str
    article_first: str = ""
    plain: str = ""
    home: str = ""
    food: str = ""
    gait: str = "walked"
    kind: str = "child"
    size: int = 4
    named: bool = True
    met: bool = False

    def mention(self) -> str:
        if self.met:
            return self.short
        self.met = True
        return self.first

    def hold(self) -> str:
        return HOLD[self.kind].format(PRONOUNS[self.sex][2])


@dataclass
class Story:
    """The state of one tale: who, where, when, and what has been said."""

    rng: random.Random
    habitat: str
    season: str
    weather: str
    P: Character
    Q: Character
    R: Character
    values: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    details_left: int = 2

    @property
    def human(self) -> bool:
        return self.habitat in HUMAN_PLACES

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def choices(self, template: str) -> str:
        """Resolve `[a|b]`, innermost first."""
        pattern = re.compile(r"\[([^\[\]]*)\]")
        while pattern.search(template):
            template = pattern.sub(lambda m: self.rng.choice(m.group(1).split("|")), template, count=1)
        return template

    def value(self, key: str) -> str:
        if key in ("P", "Q", "R"):
            return getattr(self, key).mention()
        if key in ("Ps", "Qs", "Rs"):
            name = getattr(self, key[0]).mention()
            return name + ("'" if name.endswith("s") else "'s")
        if key == "myQ":
            return re.sub(r"^(his|her) ", "my ", self.Q.mention())
        if key == "S":
            subject = self.P
            if subject.met and self.chance(0.6):
                return PRONOUNS[subject.sex][0]
            return subject.mention()
        for prefix, who in (("q", self.Q), ("r", self.R), ("", self.P)):
            words = dict(zip(("he", "him", "his", "himself"), PRONOUNS[who.sex]))
            if key.startswith(prefix) and key[len(prefix) :] in words:
                return words[key[len(prefix) :]]
        return self.fill(self.choices(self.values[key]))

    def fill(self, template: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda m: self.value(m.group(1)), template)

    def say(self, template: str, p: float = 1.0) -> None:
        """Add a sentence (with probability p)."""
        if p < 1.0 and not self.chance(p):
            return
        text = re.sub(r"\s+", " ", self.fill(self.choices(template))).strip()
        if text:
            self.said.append(text[0].upper() + text[1:])

    def any(self, *templates: str) -> None:
        """Add one of several sentences."""
        self.say(self.rng.choice(templates))

    def detail(self, p: float = 0.5) -> None:
        """Maybe add a sentence about the season or the weather."""
        if self.details_left and self.chance(p):
            pool = split(WEATHERS[self.weather])
            if self.weather in ("sunny", "snowy"):
                pool += split(SEASONS[self.season])
            sentence = self.rng.choice(pool)
            if sentence not in self.said:
                self.said.append(sentence)
                self.details_left -= 1

    def when(self) -> str:
        """A time phrase for the first event, with its comma."""
        w, s = self.weather, self.season
        forms = [
            f"one {w} [morning|day|afternoon],",
            f"one {w} [morning|day],",
            "one day,",
            f"one {s} [morning|day|afternoon],",
            "one morning,",
            f"on a {w} {s} [morning|day],",
            f"one [fine|quiet] {s} [day|morning]," if w == "sunny" else f"one {w} day,",
        ]
        return self.rng.choice(forms)

    def begin(self, event: str, wish: str = "") -> None:
        """Open the tale and say its first event (a clause whose subject is P)."""
        style = self.rng.random()
        if style < 0.62:
            self.introduce()
            if wish and self.chance(0.7):
                self.say(wish)
            else:
                self.habit()
            self.detail(0.25)
            self.say(self.when() + " " + event)
        elif style < 0.87:
            self.say(self.when() + " " + event)
            self.detail(0.5)
        else:
            self.P.first = self.P.article_first
            self.say(event)
            self.detail(0.6)

    def introduce(self) -> None:
        who, place = self.P, "{place}"
        intro = (
            who.first
            if who.kind != "child"
            else self.rng.choice(
                [
                    "a {sexnoun} named " + who.short,
                    "a [little|young|curious|cheerful] {sexnoun} named " + who.short,
                    "a {sexnoun} called " + who.short,
                ]
            )
        )
        home = "" if self.human else "{home}"
        forms = [
            f"once upon a time, there was {intro} who lived {place}.",
            f"once upon a time, {place}, there lived {intro}.",
            f"once upon a time, {intro} lived {place}.",
            f"there was once {intro} who lived {place}.",
            f"long ago, {place}, there lived {intro}.",
            f"{place}, there lived {intro}.",
            f"{intro} lived {place}.",
        ]
        if home:
            forms += [
                f"once upon a time, there was {intro}. {{he}} lived {home}.",
                f"once upon a time, {intro} lived {home}.",
                f"{who.article_first} lived {home}.",
                (
                    f"{who.plain} was called {who.short}. {{he}} lived {place}."
                    if who.named
                    else f"{who.plain} lived {place}."
                ),
            ]
        else:
            forms += [
                f"{who.short} lived {place} with {{his}} [mother|father|grandmother|family].",
                f"{who.short} was a [cheerful|curious|quiet|kind] {{sexnoun}} who lived {place}.",
            ]
        self.say(self.rng.choice(forms))
        who.met = True

    def habit(self) -> None:
        if self.human:
            self.any(
                "{he} [loved|liked] to [draw pictures|read books|climb trees|sing songs|"
                "collect stones|watch the birds|ask questions|build things from wood].",
                "every day, {he} [played|walked] [{spot1}|{spot2}].",
                "{he} was always [busy|curious|ready for an adventure].",
                "{he} had [brown|dark|red|fair|curly] hair and [a warm smile|bright eyes|a loud laugh].",
                "{he} knew every [corner|stone] of {where}.",
                "{his} favourite place was [{spot1}|{spot2}].",
                "{he} often helped {his} [mother|father] and [asked a thousand questions|sang all day long].",
                "",
                "",
            )
        else:
            self.any(
                "{he} [loved|liked] {food} more than anything[| else].",
                "every morning, {he} {gait} [to {water} to drink|out to look for {food}].",
                "{he} was [kind|cheerful|curious|a little shy], and everyone [|in {where}] "
                "[liked|knew] {him}.",
                "{he} liked to play {spot1}.",
                (
                    "{he} was [not very big|small], but {he} had [a good heart|many ideas|a brave heart]."
                    if self.P.size < 4
                    else "{he} was big, but {he} had a gentle heart."
                ),
                "{his} favourite place was [{spot1}|{spot2}].",
                "{he} knew every [path|corner] of {where}.",
                "nothing made {him} happier than {food}.",
                "",
                "",
            )

    def meet(self) -> None:
        """Bring Q onto the scene."""
        if self.human:
            self.any(
                "a little later, {Q} came along.",
                "{Q} heard {him} and came to see what was wrong.",
                "at that moment, {Q} [appeared|turned the corner].",
                "{S} sat down and sighed, and that was when {Q} found {him}.",
                "just then, {Q} [came by|came along the path|walked past].",
                "{S} went to {Q}.",
                "{S} asked {Q} for help.",
                "on the way, {he} met {Q}.",
                "then {he} saw {Q}.",
            )
        else:
            self.any(
                "just then, {Q} [came by|came along the path|{qgait} up].",
                "a little later, {Q} came along.",
                "at that moment, there was a rustle, and {Q} appeared.",
                "{Q}, who [was passing by|lived nearby], [stopped|looked at {him}].",
                "on the way, {he} met {Q}.",
                "then {he} saw {Q} {spot3}.",
                "soon {he} [met|came upon] {Q}, who was [resting|sitting] {spot3}.",
                "{Q} heard {him} and {qgait} over.",
            )

    def ask(self) -> None:
        """Q asks what is wrong."""
        self.any(
            "«[Why are you so sad|What is the matter|What is wrong|Can I help you]?» asked {Q}.",
            "{Q} asked [kindly|gently|softly], «[What is wrong|What is the matter|"
            "Why do you look so sad]?»",
            "«You look [worried|sad],» said {Q}. «[What happened|What is it]?»",
            "«Hello,» said {Q}. «[Is something wrong|Why the long face|You look worried]?»",
            "{Q} saw at once that {P} was sad. «[What is the trouble|What happened]?» " "{qhe} asked.",
        )

    def told(self) -> None:
        self.any(
            "{P} told {qhim} [everything|the whole story|what had happened].",
            "so {P} told {qhim} [everything|the whole story|what had happened].",
            "{P} explained what had happened.",
        )

    def thank(self) -> None:
        self.any(
            "«Thank you[| so much|, thank you],» said {P}[.| with a smile.| happily.]",
            "{P} thanked {qhim} [again and again|with all {his} heart|and smiled].",
            "«Thank you, [dear friend|my friend],» said {P}.",
            "{P} was so [happy|glad] that {he} [hugged {qhim}|laughed out loud|almost cried].",
            "{P} did not know what to say, so {he} [simply smiled|hugged {qhim}].",
            "«I could not have done it without you,» said {P}.",
            "«You are [very kind|a good friend],» said {P}. «[It was nothing|That is what friends are for],» "
            "said {Q}.",
            "«How can I ever thank you?» asked {P}. «You already have,» said {Q}.",
        )

    def end(self, theme: str, closing: str = "") -> None:
        """Close the tale, sometimes with a moral."""
        if closing:
            self.say(closing)
        roll = self.rng.random()
        if roll < 0.45:
            self.any(
                "that [night|evening], {P} [fell asleep|went to bed|slept] with a [smile|happy heart].",
                "that night, {P} [slept well|had sweet dreams|slept deeply][| in {his} warm bed].",
                "and [from that day on|from then on], {P} and {Q} were [the best of friends|good friends].",
                "from that day on, {P} and {Q} [met every day|were never far apart|often "
                "[walked|sat] together {spot2}].",
                "{P} [never forgot|always remembered] that day.",
                "and whenever {P} thought of it, {he} [smiled|felt warm inside].",
                "it had been a [long|good|wonderful] day, and {P} [fell asleep at once|slept until the sun was high].",
                "and if you [listen|go there] [on a quiet evening|in the evening], you may still hear them laugh.",
                "that evening, they [sat side by side|sat together] and watched the [stars|sun go down|moon].",
                "{S} went home, [ate {food}|drank some warm milk] and [crept|climbed] into bed.",
                "the next morning, {P} woke up with a smile[|, ready for a new adventure].",
                "«Good night,» said {Q}. «Good night,» said {P}, «and thank you.»",
                "when the stars came out, {P} was [home and warm|already asleep|still smiling].",
                "[The sun went down|evening came], and {P} [went home|walked home] [happy and tired|"
                "with a light heart].",
                "and {P} lived happily ever after.",
                "[The moon rose over {where}|the stars came out one by one], and all was [well|quiet "
                "and still|peaceful].",
            )
        if roll > 0.35 and roll < 0.75:
            moral = self.rng.choice(split(MORALS[theme]))
            lower = moral[0].lower() + moral[1:]
            self.any(
                moral,
                "{P} had learned [something|a lesson] that day: " + lower,
                "and [since then|from then on], {P} [knew|remembered] that " + lower,
                "«" + moral[:-1] + ",» said {Q}, and {P} [nodded|agreed].",
            )

    def text(self) -> str:
        text = " ".join(self.said)
        text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
        text = re.sub(r"(?<!\.\.)(?<=[.!?] )([a-z])|(?<=[.!?»] «)([a-z])", lambda m: m[0].upper(), text)
        text = text.replace("«", '"').replace("»", '"')
        return re.sub(r'(?<=\." )([a-z])', lambda m: m.group(1).upper(), text)


# --- plots --------------------------------------------------------------------------------


def lost_item(s: Story) -> None:
    s.begin(
        "{P} could not find {his} {thing}.",
        "{he} had a {thing} that [{his} grandmother had given {him}|{he} loved very much|"
        "{he} took everywhere].",
    )
    s.any("{S} looked {spot1}, but it was not there.", "{S} searched {spot1} and found nothing.")
    s.any(
        "then {he} looked {spot2}. [There was only an old leaf|There was nothing there either|"
        "It was not there either].",
        "{he} looked {spot2} too, but there was [nothing|only dust].",
    )
    s.any(
        "«[Where can it be|Oh, where is my {thing}]?» {he} [sighed|said|cried].",
        "a [big|small] tear rolled down {his} [cheek|face].",
        "{S} sat down and [felt very sad|sighed].",
    )
    s.meet()
    s.ask()
    s.any("«I have lost my {thing},» said {P}.", "«I cannot find my {thing},» {P} answered.")
    s.any(
        "«When did you have it last?» asked {Q}. {P} thought [hard|for a moment]. "
        "«[Yesterday|This morning], when I was playing {spot4},» {he} said.",
        "«Let us look together,» said {Q}. «[Four eyes see more than two|Two can search better than one].»",
    )
    s.any(
        "they [went there|hurried there|set off] together, and [they looked everywhere|{Q} looked "
        "carefully at the ground].",
        "together they looked {spot4}.",
    )
    s.any(
        "there it was, {spot4}, [half hidden under a leaf|shining in the light|just where {he} had left it]!",
        "at last {Q} [called|cried], «Here it is!» The {thing} was lying {spot4}.",
        "suddenly something [shone|moved] {spot4}. It was the {thing}!",
    )
    s.thank()
    s.end(
        "friendship",
        s.rng.choice(
            ["after that, {P} always [kept it safe|put it in the same place|took good care of it].", ""]
        ),
    )


def lost_way(s: Story) -> None:
    s.begin(
        "{P} [saw|followed|ran after] a [blue|yellow|bright|golden] [butterfly|dragonfly] and "
        "[followed it|did not stop] until {he} was far from home."
        if s.season in ("spring", "summer")
        else "{P} went [out to play|for a walk] and [walked|wandered] too far from home."
    )
    s.any(
        "when {he} looked around, {he} did not know [the place|where {he} was].",
        "suddenly everything looked [strange|different], and {he} could not see the path.",
    )
    s.any(
        "it was getting [dark|late], and {he} was [cold|hungry|afraid].",
        "the sun was going down, and the shadows grew long.",
    )
    s.any(
        "{S} called, «[Hello|Is anybody there]?» but nobody answered.",
        "{he} walked to the left, then to the right, but [every path looked the same|it did not help].",
    )
    s.any(
        "{S} sat down under a [tree|bush] and began to cry.",
        "«[I want to go home|I am lost],» {he} whispered.",
    )
    s.say("then {he} [saw a small light|heard a soft voice|heard a rustle]. It was {Q}.")
    s.any(
        "«Are you lost?» asked {Q}.",
        "«Do not [cry|be afraid],» said {Q}. «[I know the way|I will help you].»",
    )
    s.any(
        "«[Follow me|Come with me],» {qhe} said. «[I know every path here|We will find your home together].»",
        "«Where do you live?» {qhe} asked. «[Near {water}|By {water}],» said {P}. «[Then it is not far|I know "
        "that place],» said {Q}.",
    )
    s.any(
        "they went [past|around] [the hollow tree|the big stone] and [over the little bridge|along {water}].",
        "{Q} went ahead, and {P} followed close behind.",
        "to make the way shorter, {Q} [sang a funny song|told {him} a story].",
    )
    s.any(
        "at last {P} saw {his} home. [{his} mother was waiting at the door|A warm light was shining there].",
        "soon {P} smelled [the smoke of home|supper] and [began to run|laughed with joy].",
    )
    s.any(
        "{his} mother [hugged {him} tightly|held {him} close] and gave {Q} [a bowl of soup|a piece of cake].",
        "«Next time, do not go so far,» said {his} mother, and {P} promised.",
    )
    s.thank()
    s.end("home")


def found_item(s: Story) -> None:
    s.begin("{P} [found|saw|picked up] a {thing} {spot1}.")
    s.any(
        "«[Whose is this|Who has lost this]?» {he} [wondered|said].",
        "it was [beautiful|lovely], and {he} wanted to keep it. But [someone must be missing it|it belonged to "
        "someone], {he} thought.",
    )
    s.any(
        "first {he} asked {R}. «Is this yours?» «No,» said {R}, «[it is not mine|I have never seen it].»",
        "{S} showed it to {R}, but {R} only shook {rhis} head.",
    )
    s.any(
        "so {he} went on along the path and [asked everyone|looked around].",
        "«Maybe someone is looking for it {spot2},» said {R}.",
    )
    s.say("{spot2}, {he} [found|met] {Q}, who was [crying|looking for something|searching in the grass].")
    s.ask()
    s.any(
        "«I have lost my {thing},» said {Q}. «[My mother gave it to me|It was a present from my father|"
        "I have had it since I was small].»"
    )
    s.any("{P} [held it out|smiled]. «Is this it?»", "«Look what I found,» said {P}, and {he} held it up.")
    s.any(
        "{Qs} eyes [shone|grew wide]. «Yes! [Thank you|Oh, thank you],» {qhe} [cried|said].",
        "{Q} jumped for joy. «You found it!» {qhe} cried.",
    )
    s.any(
        "to thank {him}, {Q} gave {him} [a bag of {food2}|a warm cake|a little present].",
        "«Come and have [tea|supper] with me,» said {Q}, and so they [ate|sat] together until evening.",
        "«You could have kept it,» said {Q}. «But then I would not have met you,» said {P}.",
    )
    s.end("kindness")


def storm(s: Story) -> None:
    s.weather, s.details_left = "windy", 0
    s.begin("{P} looked up and saw dark clouds [over {hill}|in the sky].")
    s.any("«A storm is coming!» {he} [said|cried].", "the wind grew strong, and thunder rolled far away.")
    s.any(
        "{S} ran to [tell the others|warn everyone]. First {he} went to {R}. «[Come quickly|Come to my "
        "home], it is safe there,» {he} said.",
        "{S} could have gone straight home, but {he} thought of {R}, who had no shelter. {he} ran to fetch {rhim}.",
    )
    s.any(
        "on the way they found {Q}, who was [shaking with fear|wet and cold].",
        "then they heard {Q} calling for help {spot2}.",
    )
    s.any(
        "«There is no room for us all,» said {Q}. «Of course there is,» said {P}. «We will sit close together.»",
        "«May I come too?» asked {Q}. «Of course,» said {P}. «[Hurry|Come in].»",
    )
    s.any(
        (
            "just as they closed the door, the rain began to pour."
            if s.human
            else "just as they crept inside, the rain began to pour."
        ),
        "they were hardly inside when the lightning flashed.",
    )
    s.any(
        "the thunder crashed, and {R} [hid|covered {rhis} ears].",
        "the wind howled, but inside it was [warm|dry].",
    )
    s.any(
        "to forget their fear, they [sang songs|told stories|told jokes].",
        "{P} shared {his} {food}, and soon [nobody was afraid|they were all laughing].",
    )
    s.any(
        "when the storm was over, a rainbow stood over {where}.",
        "after a while, the rain stopped, and the sun came out again.",
        "in the morning, the sky was [clear|blue] and the world looked new.",
    )
    s.any(
        "«Thank you for thinking of us,» said {Q}.",
        "«It was the best storm of my life,» said {R}, and they all laughed.",
    )
    s.end("sharing")


def fear(s: Story) -> None:
    fears = {
        "the dark": (
            "at night, {he} [hid under the blanket|could not sleep|saw a monster in every shadow]",
            "«In the dark you can see the stars,» {qhe} said. «Look up.»",
            "lost in the dark",
            "{S} took a deep breath and walked into the night, step by step",
        ),
        "deep water": (
            "when the others swam, {he} only [watched|sat on the bank]",
            "«Start where it is shallow,» {qhe} said. «The water will carry you.»",
            "on a branch that was floating away",
            "{S} took a deep breath and jumped into the cold water",
        ),
        "thunder": (
            "when the sky rumbled, {he} [hid|ran away]",
            "«Count with me,» {qhe} said. «Thunder is only a big noise.»",
            "alone in the storm",
            "{S} counted slowly to ten and ran out into the rain",
        ),
        "high places": (
            "{he} never went up {hill} with the others",
            "«Do not look down,» {qhe} said. «Look only at your next step.»",
            "stuck high on a ledge",
            "{S} looked only at the next step and climbed up and up",
        ),
    }
    what = s.rng.choice(
        ["the dark", "thunder", "high places"]
        if s.P.kind in ("other", "insect") or s.habitat == "pond"
        else list(fears)
    )
    if what == "high places" and s.P.gait == "flew":
        what = "the dark"
    if what == "deep water" and s.P.food == "silver fish":
        what = "thunder"
    shown, advice, trouble, act = fears[what]
    s.introduce()
    s.any(
        f"{{he}} was [kind|clever|good at many things], but {{he}} was afraid of {what}.",
        f"{{he}} had a secret: {{he}} was very afraid of {what}.",
    )
    s.say(shown + ".")
    s.any("the others laughed, and that made {him} sad.", "{S} was ashamed and told nobody.")
    s.any("[one day|one evening], {Q} sat down beside {him}.", "[one day|at last], {he} told {Q} about it.")
    s.any(
        "«I used to be afraid too,» said {Q}.",
        "{Q} did not laugh.",
        "«Everyone is afraid of something,» said {Q}.",
    )
    s.say(advice)
    s.any("{P} tried, and it helped a little.", "{P} was not sure, but {he} remembered the words.")
    s.say(f"a few days later, {{he}} heard [a cry|someone crying]. It was {{R}}, {trouble}!")
    s.any("there was nobody else to help.", "{Ps} heart beat fast. Nobody else was near.")
    s.say(act + ".")
    s.any("«I am coming!» {he} called.", "«Hold on!» {he} cried.")
    s.any("soon {R} was safe.", "{he} brought {R} back safely.")
    s.any(
        "«You are so brave!» said {R}.",
        "«Were you not afraid?» asked {R}. «I was,» said {P}, «but you needed me.»",
    )
    s.end(
        "courage", f"after that day, {{P}} was [never so afraid of {what} again|no longer afraid of {what}]."
    )


def rescue(s: Story) -> None:
    s.begin("{P} heard a [small|thin|weak] voice {spot1}. «Help! Help!»")
    s.say("it was {R}, who was stuck [in the mud|under a fallen branch|between two stones|in a thorn bush].")
    s.any("«[Please help me|I cannot get out],» said {R}.", "{R} was [tired and afraid|shaking all over].")
    s.any(
        "{P} pulled and pulled, but {R} did not move.",
        "{P} pushed with all {his} strength, but it was no use.",
    )
    s.any(
        "then {he} had an idea. {he} ran to fetch {Q}.",
        "«Wait here,» said {P}. «I will get help.» {he} ran to {Q}.",
    )
    s.any(
        "{Q} came at once [with a long rope|with a strong stick|] and said, «[Let us pull together|We must work "
        "together].»",
        "together they took hold and counted: «One, two, three!»",
    )
    s.any("[with a loud pop|slowly, slowly|at last], {R} [came free|was free].")
    s.any("«You saved me,» said {R}. «[One day I will help you too|I will never forget this].»")
    if s.chance(0.6):
        s.any("{P} smiled. How could {R} ever help {him}?", "{P} laughed kindly and went home.")
        s.any(
            "but [some weeks later|in the winter], {P} [lost {his} way in the fog|fell into a deep hole|"
            "could not find any food]."
        )
        s.any("who came along? It was {R}.", "then {R} came, and {rhe} had not forgotten.")
        s.any("«Now it is my turn,» said {R}, and {rhe} [showed {him} the way|brought help|helped {him}].")
    s.end("kindness")


def seed(s: Story) -> None:
    s.season, s.weather = "spring", s.rng.choice(["sunny", "rainy"])
    s.begin("{P} found a [small|tiny|brown|strange] seed {spot1}.")
    s.any(
        "«What will it be?» {he} wondered. {he} planted it in the soft earth.",
        "{S} dug a little hole, put the seed inside and covered it with earth.",
    )
    s.any(
        "the next day {he} came back, but nothing had happened.",
        "every morning {he} looked, but the ground was bare.",
    )
    s.any(
        "«Grow!» {he} [said|shouted]. The seed did not grow.",
        "«It is [broken|asleep],» {he} thought, and {he} was sad.",
    )
    s.any(
        "«Be patient,» said {Q}. «[A seed needs water, sun and time|Good things grow slowly].»",
        "{Q}, who knew a lot about plants, said, «[Give it water and wait|It needs water, sun and time].»",
    )
    s.any(
        "so {P} [carried|brought] water from {water} every day.",
        "so {P} watered it every evening and waited.",
    )
    s.any(
        "then came hot, dry days. {P} carried water [until {he} was tired|again and again].",
        "one night, a cold wind blew, and {P} covered the place with dry leaves.",
        "{S} pulled out the weeds and kept the snails away.",
    )
    plant = s.rng.choice(["sunflower", "pumpkin", "apple tree", "strawberry plant"])
    s.any("one morning, there was a tiny green leaf!", "at last, a small green tip looked out of the earth.")
    s.any(
        "it grew and grew, and by [summer|autumn] it was a "
        + {
            "sunflower": "tall sunflower",
            "pumpkin": "huge orange pumpkin",
            "apple tree": "small apple tree",
            "strawberry plant": "big strawberry plant",
        }[plant]
        + "."
    )
    s.say(
        {
            "sunflower": "it had so many seeds that there was enough for everyone, and {P} kept one for next spring.",
            "pumpkin": "it was so big that {P} and {Q} made soup for everybody {place2}.",
            "apple tree": "years later, everyone {place2} ate its sweet red apples.",
            "strawberry plant": "{P} picked the red berries and shared them with {Q}.",
        }[plant]
    )
    s.end("patience")


def trade(s: Story) -> None:
    goods = s.rng.sample(
        [
            "a jar of honey",
            "a ball of wool",
            "a basket of apples",
            "a loaf of bread",
            "a bunch of flowers",
            "a warm blanket",
            "a bag of nuts",
        ],
        2,
    )
    s.begin(
        "{P} saw a {thing} that belonged to {Q}, and {he} [wished for one just like it|wanted it very much]."
    )
    s.any(
        f"«I will give it to you,» said {{Q}}, «if you bring me {goods[0]}.»",
        f"«Will you trade?» asked {{P}}. «Yes,» said {{Q}}, «for {goods[0]}.»",
    )
    s.say(f"but {{P}} had [nothing like that|no such thing]. So {{he}} went to {{R}}, who had {goods[0]}.")
    s.say(f"«You may have it,» said {{R}}, «[but I need {goods[1]}|if you can find {goods[1]} for me].»")
    s.any(
        f"{{P}} walked on [for a long time|until {{his}} feet hurt]. At last {{he}} met an old "
        f"[woman|traveller] who [carried|had] {goods[1]}."
        if s.human
        else f"{{P}} looked all day. At last {{he}} found an old [crow|toad] who had {goods[1]}."
    )
    s.any(
        "«What do you want for it?» asked {P}. «[Only a song|Just a little help with my work|A kind word],» was the answer.",
        "{P} had nothing left but [a song|a smile], and that was enough.",
    )
    s.any("so {P} [sang|helped] until evening[|, and it was fun].", "{P} laughed and did it gladly.")
    s.say(
        f"then {{he}} [hurried|ran] back. {{R}} got {goods[1]}, {{Q}} got {goods[0]}, and {{P}} got the {{thing}}."
    )
    s.any(
        "everyone was happy, and {P} most of all.",
        "«That was a lot of walking for one {thing},» said {Q}. "
        "«Yes,» said {P}, «but I made many friends.»",
    )
    s.end(s.rng.choice(["patience", "friendship"]))


OBJECTS = [
    (
        "lighthouse",
        "old,tall,white",
        "on a rock by the sea",
        "shone its light over the waves",
        "[new ships had maps|the keeper had moved away], and nobody needed it any more",
        "a great storm came, and a small fishing boat was lost in the dark",
        "the lighthouse gathered all its strength and began to shine",
        "the fishermen saw the light and steered safely into the harbour",
        "the fishermen painted it white and lit its lamp every night",
    ),
    (
        "windmill",
        "old,wooden,crooked",
        "on a hill above the fields",
        "turned its arms in the wind",
        "the miller was gone, and its arms stood still",
        "the rain stopped, the river dried up, and the village had no flour",
        "a fresh wind came, and the windmill creaked and began to turn",
        "soon there was flour for every house in the village",
        "the children came every day to hear its arms sing in the wind",
    ),
    (
        "bridge",
        "old,stone,narrow",
        "over a quiet river",
        "carried people from one side to the other",
        "there was a new bridge, and nobody crossed the old one",
        "a flood came and washed the new bridge away",
        "the old bridge stood firm, although the water pushed and roared",
        "the children could walk over it to their homes",
        "the people put flowers on its walls and called it their friend",
    ),
    (
        "boat",
        "little,red,wooden",
        "at the end of the pier",
        "danced on the waves",
        "a big ship had come, and the boat lay tied to the pier all day",
        "a boy fell into the water far from the shore, and the big ship was too slow",
        "the little boat raced over the waves with the old fisherman",
        "they pulled the boy out of the water just in time",
        "the fisherman took the boat out every morning again",
    ),
    (
        "bell",
        "big,bronze,old",
        "in a tower above the village",
        "rang every hour",
        "people had clocks now, and nobody pulled its rope",
        "one night a fire started in the baker's barn while everyone slept",
        "the wind shook the tower, and the bell rang as loudly as it could",
        "the people woke up and put out the fire with water from the well",
        "the bell was rung every Sunday, and everyone stopped to listen",
    ),
    (
        "scarecrow",
        "lonely,old,straw",
        "in the middle of a wheat field",
        "kept the birds away",
        "the birds were afraid of it, and it had no friends",
        "winter came, and a small bird was freezing in the snow",
        "the scarecrow whispered, «Come into my coat. It is warm in the straw.»",
        "the bird slept in its pocket until spring",
        "birds sat on its arms and sang to it every morning",
    ),
    (
        "lantern",
        "small,rusty,old",
        "on a hook in a dusty shed",
        "lit the way for the farmer",
        "the farmer had forgotten it, and spiders lived behind its glass",
        "one dark night a lamb was lost in the hills and all the other lamps were broken",
        "the farmer's daughter lit the lantern, and it glowed as bright as a star",
        "by its light she found the lamb and carried it home",
        "it hung beside the front door and shone every evening",
    ),
    (
        "clock",
        "tall,old,wooden",
        "in the corner of a quiet house",
        "said tick and tock all day",
        "its hands had stopped, and nobody looked at it",
        "the family had a new baby who cried all night and could not sleep",
        "the grandfather opened the clock, cleaned its wheels, and it began to tick again",
        "the baby listened to the soft tick and tock and fell asleep",
        "the clock was wound every Sunday and never felt useless again",
    ),
    (
        "teapot",
        "blue,little,chipped",
        "on a high shelf in the kitchen",
        "poured tea for guests",
        "it had a crack, and the family used a new one",
        "one spring day a little girl found a flower that had no pot",
        "she took the teapot down, filled it with earth and planted the flower in it",
        "the flower grew and filled the whole window with red blossoms",
        "every guest said that it was the prettiest pot in the house",
    ),
    (
        "train",
        "little,green,slow",
        "in a shed behind the station",
        "carried milk and letters over the hills",
        "the fast trains laughed at it and hurried past",
        "heavy snow fell, and the fast trains could not climb the hill",
        "the little train puffed and puffed and went up slowly, step by step",
        "it brought food and medicine to the village behind the hill",
        "the fast trains whistled politely whenever it passed",
    ),
    (
        "snowman",
        "round,white,cheerful",
        "in front of a small house",
        "watched over the garden",
        "the children had gone inside, and it was lonely at night",
        "a little rabbit came along, and it was very hungry",
        "the snowman bent down and said, «Take my nose. It is a fresh carrot.»",
        "the rabbit ate the carrot and was strong again",
        "the rabbit came every night to keep it company until spring",
    ),
    (
        "apple tree",
        "old,crooked,tall",
        "behind a farmhouse",
        "gave sweet apples every autumn",
        "it bore no apples now, and the farmer wanted to cut it down",
        "in spring a swarm of bees lost its home in a storm",
        "the tree said, «There is a hole in my trunk. You may live here.»",
        "the bees visited every blossom, and in autumn the branches were full of apples",
        "the farmer put away his axe and built a bench in its shade",
    ),
    (
        "star",
        "small,shy,young",
        "high in the night sky",
        "twinkled as well as it could",
        "the big stars were so bright that nobody saw it",
        "one night clouds hid the big stars, and a sailor did not know the way",
        "the small star found a gap in the clouds and shone through it",
        "the sailor saw it and turned his ship toward home",
        "the sailor looked for it every night and greeted it",
    ),
    (
        "cloud",
        "little,white,fluffy",
        "high above the mountains",
        "floated over the fields",
        "the big clouds made thunder and rain, and it could do nothing but float",
        "it was a dry summer, and a small flower was dying on the hill",
        "the little cloud gathered all its drops and let them fall",
        "the flower lifted its head and bloomed",
        "the flower waved every time the cloud floated by",
    ),
]


def lonely_object(s: Story) -> None:
    noun, adjectives, where, job, trouble, event, deed, result, after = s.rng.choice(OBJECTS)
    adjective = s.rng.choice(adjectives.split(","))
    s.any(
        f"there was once a {adjective} {noun} {where}.",
        f"once upon a time, there was a {adjective} {noun} {where}.",
        (
            f"once upon a time, a {adjective} {noun} stood {where}."
            if noun not in ("boat", "cloud", "star")
            else f"long ago, there was a {adjective} {noun} {where}."
        ),
        f"the {adjective} {noun} was sad.",
    )
    if noun in ("snowman", "cloud", "star", "scarecrow"):
        s.say(f"[day after day|all day long], it {job}.")
    else:
        s.any(f"for many years, it {job}.", f"[once|in the old days], it {job}.")
    s.say(f"but {trouble}.")
    s.any(
        f"«[Nobody needs me|I am of no use],» [sighed|said] the {noun}.",
        f"the {noun} felt [lonely|sad|useless], and the days were long.",
        f"sometimes the {noun} [dreamed of old times|sighed in the night].",
    )
    s.any(
        f"only [a grey mouse|a small spider|the wind] kept it company. «[Be patient|Do not be sad|Wait],» "
        "it whispered. «[Your day will come|Everyone is needed one day].»",
        "",
        "",
    )
    s.any(f"{event}.", f"but {event}.")
    s.any(
        "nobody knew what to do.",
        "everyone was [afraid|worried].",
        f"the {noun} [saw it|knew it] at once.",
        "«[I must help|Now I must be strong],» " + f"thought the {noun}.",
    )
    s.say(deed if deed.endswith("»") else f"{deed}.")
    s.any(f"{result}.", f"and {result}.")
    s.any(
        "«[Thank you,|You have saved us,|What would we do without you?]» someone said.",
        "",
        f"how happy the {noun} was!",
        f"the {noun} was [proud and happy|so happy that it could not speak].",
    )
    s.any(f"from that day on, {after}.", f"after that, {after}.", f"and {after}.")
    s.any(
        f"the {noun} was never lonely again.",
        "everyone is needed by someone.",
        (
            "old things can still do great things."
            if adjective == "old"
            else "even the little ones can do great things."
        ),
        f"and if you go there, you may see the {noun} even today.",
        "",
    )


def key(s: Story) -> None:
    inside = s.rng.choice(
        [
            ("a small garden full of roses", "the garden of {his} grandmother"),
            ("a tiny music box that played a sweet song", "a song that {his} grandmother had loved"),
            ("a bundle of old letters", "letters from {his} grandfather when he was a sailor"),
            (
                "a map of the village with a red cross on it",
                "a map that led to an old apple tree full of fruit",
            ),
            (
                "a box of coloured pencils",
                "pencils that had belonged to {his} grandmother when she was small",
            ),
            ("a wooden horse with a real mane", "the toy that {his} father had lost as a child"),
        ]
    )
    s.begin(
        "{P} found a [small |rusty |golden |brass |silver |]key [under the stairs|in an old drawer|"
        "under the bed|in the pocket of an old coat|{spot1}|{spot1}]."
    )
    s.any(
        "«[What does it open|Which door does it open]?» {he} wondered.",
        "it was [cold|heavy] in {his} hand, and {he} wanted to know what it opened.",
    )
    s.any(
        "first {he} tried the kitchen door, but the key was too small.",
        "{S} tried it in the cupboard. It did not fit.",
        "the key did not fit the front door.",
    )
    s.any(
        "then {he} tried the old clock and the shed, but [it was no use|they stayed shut].",
        "then {he} tried the gate, but it did not turn.",
    )
    s.any("{S} showed the key to {Q}.", "at last {he} asked {Q}.")
    s.any(
        "{Q} [smiled|looked at it for a long time]. «I know that key,» {qhe} said. «[Come with me|Look in the attic|"
        "Follow me].»",
        "«[Look in the attic|There is an old chest in the attic],» said {Q}.",
    )
    s.any(
        "behind [a dusty curtain|an old chair|some boxes], there was [a little door|a wooden chest] with a lock.",
        "there, under a [grey|dusty] blanket, stood an old chest.",
    )
    s.any("the key turned with a soft click.", "{P} put the key in the lock, and it opened!")
    s.say(f"inside was {inside[0]}." if "garden" not in inside[0] else f"behind it was {inside[0]}.")
    s.any(
        f"it was {inside[1]}."
        if not inside[1].startswith(("letters", "pencils"))
        else f"they were {inside[1]}."
    )
    s.any(
        "«I had forgotten all about it,» said {Q}, and {qhe} wiped away a tear.",
        "{P} and {Q} sat there until evening and [talked|laughed] about old times.",
        "«Now it is yours,» said {Q}. «Take good care of it.»",
    )
    s.end("content", "{P} put the key on a string and [wore it around {his} neck|hung it over {his} bed].")


def birthday(s: Story) -> None:
    s.begin("{P} woke up and [smiled|jumped out of bed], for it was {his} birthday.")
    s.any(
        "but nobody [said a word about it|wished {him} a happy birthday].",
        "{S} ran outside, but nobody was there.",
    )
    s.any(
        "{S} went to {Q}. «I am busy today,» said {Q}, and {qhe} hurried away.",
        "when {he} met {Q}, {qhe} only said, «Good morning,» and hurried away.",
    )
    s.any("{R} had no time either.", "{S} went to see {R}, but {R} was not at home.")
    s.any(
        "«They have all forgotten,» thought {P}, and {he} was [very sad|close to tears].",
        "{P} sat down {spot1}. «Nobody remembers,» {he} [whispered|sighed].",
    )
    s.any("when evening came, {he} walked home slowly.", "at last {he} went home with a heavy heart.")
    s.any(
        "it was dark inside. {he} opened the door." if s.human else "it was very quiet. {he} looked inside."
    )
    s.any("«Surprise!» cried {Q} and {R}.", "«Happy birthday!» shouted all {his} friends.")
    s.any(
        "there were [lanterns|candles] everywhere and a big cake with [berries|cream|nuts].",
        "they had made a cake and hung paper stars everywhere.",
    )
    s.any(
        "«We were busy all day with your party,» said {Q}.",
        "«Did you think we had forgotten you?» asked {Q}.",
    )
    s.any(
        "{R} gave {him} a {thing}, and {Q} gave {him} [a big hug|a bag of {food}].",
        "there was a present too: a {thing}.",
    )
    s.any("they danced and sang until the moon was high.", "{P} laughed until {his} eyes were wet.")
    s.end("friendship")


def cooking(s: Story) -> None:
    dish, parts = s.rng.choice(
        [
            ("an apple pie", ["apples", "flour", "butter"]),
            ("a pot of soup", ["carrots", "onions", "salt"]),
            ("a honey cake", ["honey", "flour", "eggs"]),
            ("a berry tart", ["berries", "sugar", "flour"]),
            ("pancakes", ["eggs", "milk", "flour"]),
            ("a pumpkin soup", ["a pumpkin", "cream", "salt"]),
        ]
    )
    parts = s.rng.sample(parts, 3)
    noun = dish.split(" ", 1)[1] if dish.startswith("a") else dish
    was = "were" if dish == "pancakes" else "was"
    s.begin(f"{{P}} wanted to make {dish}.")
    s.any(
        f"but when {{he}} looked in the [kitchen|cupboard], there was not enough. «I have only {parts[0]},» {{he}} said.",
        f"{{S}} had {parts[0]}, but {{he}} had no {parts[1].removeprefix('a ')} and no {parts[2].removeprefix('a ')}.",
    )
    s.any(
        f"so {{he}} went to {{Q}}. «Do you have {parts[1]}?» {{he}} asked.",
        (
            f"{{S}} knocked at {{Qs}} door. «Could you give me {parts[1]}, please?»"
            if s.Q.named and s.Q.met
            else f"{{S}} asked {{Q}} for {parts[1]}."
        ),
    )
    s.any(
        "«Of course,» said {Q}. «May I come and help?»",
        (
            "«Yes,» said {Q}, «if I may have a piece.»"
            if was == "was"
            else "«Yes,» said {Q}, «if I may have some.»"
        ),
    )
    s.any(
        f"on the way back, they met {{R}}, who had {parts[2]}.",
        f"{{R}} heard about it and brought {parts[2]}.",
    )
    s.any(
        "together they washed and cut and stirred.",
        "{P} mixed, {Q} stirred, and {R} made the fire.",
        "soon there was flour on every nose." if "flour" in parts else "soon the pot was full.",
    )
    s.any(
        "they spilled a little, but nobody minded.",
        (
            "«Not too much salt!» cried {Q}."
            if "salt" in parts
            else "«Can we eat now?» asked {R}. «Not yet,» said {P}."
        ),
    )
    s.any(
        "before long, a wonderful smell filled the air.",
        (
            f"the {noun} {was} [golden|hot|steaming], and it smelled wonderful."
            if was == "was"
            else "the pancakes were golden, and they smelled wonderful."
        ),
    )
    s.any(
        "the smell was so good that the neighbours came to see.",
        "everyone who smelled it came to the door.",
        "",
    )
    s.any("they sat down together and ate until there was nothing left.", "there was enough for everyone.")
    s.any(
        "«[I could not have made it alone|It tastes so good because we made it together],» said {P}.",
        (
            f"«This is the best {noun} in the world,» said {{R}}."
            if was == "was"
            else "«These are the best pancakes in the world,» said {R}."
        ),
    )
    s.end("sharing")


def contest(s: Story) -> None:
    s.say("{when} there was a [great|big] race {place2}.")
    s.detail(0.4)
    s.any(
        "{Q} was sure to win. «I am the fastest of all,» {qhe} said.",
        "everyone knew {Q}, who was very fast and very proud.",
    )
    s.any("{P} was small and [slow|not very fast], but {he} wanted to try.", "{P} wanted to run too.")
    s.any(
        "«You?» laughed {Q}. «You will never win.»", "«Do not be silly,» said {Q}. «You are much too slow.»"
    )
    s.any("{P} said nothing and [took {his} place|went to the start].")
    s.any("«Ready, steady, go!» called {R}, and off they went.", "{R} gave the sign, and they all started.")
    s.any("{Q} was far ahead at once.", "soon {Q} was so far ahead that nobody could see {qhim}.")
    if s.chance(0.5):
        s.any(
            "it was hot, and {Q} thought, «I have time for a little rest.» {qhe} lay down in the shade and fell asleep.",
            "{qhe} stopped to [eat some berries|look at {qhimself} in the water] and forgot the time.",
        )
        s.any("{P} went on, step by step, and never stopped.", "{P} was tired, but {he} did not stop.")
        s.any(
            "when {Q} [woke up|remembered the race], it was too late. {P} was [already there|just crossing the line]."
        )
        s.any("everyone cheered for {P}.", "«The winner is {P}!» called {R}.")
        s.any(
            "{Q} was ashamed. «You have won fairly,» {qhe} said.",
            "«I will never laugh at you again,» said {Q}.",
        )
        s.end("patience")
    else:
        s.any(
            "but {spot2}, {Q} [slipped|fell] and hurt {qhis} leg.",
            "but then {Q} [stumbled over a root|slipped] and could not get up.",
        )
        s.any("the others ran past. Only {P} stopped.", "{P} could have won now. But {he} stopped.")
        s.any("«Lean on me,» {he} said.", "«Does it hurt?» {he} asked. «I will help you.»")
        s.any(
            "together they walked slowly to the end. They were the last of all.",
            "they came in last, side by side.",
        )
        s.any(
            "but everyone cheered louder than before.",
            "yet {R} gave them the prize. «This is for the kindest runner,» {rhe} said.",
        )
        s.any("«I am sorry that I laughed at you,» said {Q}.", "«You are a true friend,» said {Q}.")
        s.end("humility")


def honesty(s: Story) -> None:
    thing = s.rng.choice(["blue vase", "big bowl", "glass lamp", "flowerpot", "painted plate", "honey jar"])
    s.begin(
        "{P} was [playing|dancing|running] in the house" + f" when {{he}} knocked over a {thing}."
        if s.human
        else f"{{P}} was playing near the home of {{Q}} when {{he}} knocked over a {thing}."
    )
    s.any(f"crash! The {thing} lay on the ground in [a hundred|many] pieces.", f"the {thing} fell and broke.")
    s.any(
        "nobody had seen it. {P} [hid the pieces|ran away|put the pieces under a leaf].",
        "{Ps} heart beat fast. {he} hid the pieces and crept away.",
    )
    s.any(
        f"«Who broke my {thing}?» asked {{Q}} [sadly|in the evening].",
        f"soon {{Q}} came [back|home]. «Where is my {thing}?» {{qhe}} asked.",
    )
    s.any(
        "«It was the wind,» said {P}[.| very quietly.]",
        "«I do not know,» said {P}, and {he} looked at the ground.",
    )
    s.any(
        "but the lie lay in {his} stomach like a stone.",
        "all night {he} [could not sleep|turned from side to side].",
    )
    s.any("{his} favourite food, {food}, did not taste good.", "even {food} did not taste good any more.")
    s.any(
        "in the morning, {he} went to {Q}. «It was not the wind,» {he} said. «It was me. I am sorry.»",
        "at last {he} could not bear it. «I broke it,» {he} said, and the tears came. «I am so sorry.»",
    )
    s.any("{Q} was quiet for a moment. Then {qhe} smiled.", "{Q} looked at {him} for a long time.")
    s.any(
        f"«A {thing} is only a thing,» {{qhe}} said. «But it was brave to tell me.»",
        "«Thank you for telling me,» {qhe} said. «That was not easy.»",
    )
    s.any(
        "together they glued the pieces, and it was almost [like new|as good as before].",
        "{P} helped {Q} all day, and in the evening they [laughed|ate] together again.",
    )
    s.end("honesty", s.rng.choice(["{P} felt as light as a feather.", "and {Ps} heart was light again.", ""]))


def greedy(s: Story) -> None:
    s.season, s.weather = "autumn", s.rng.choice(["sunny", "windy"])
    s.begin("{P} found a [great|big] heap of {food} {spot1}.")
    s.any("«All mine!» {he} [cried|said].", "{S} looked around. Nobody had seen it.")
    s.any("{S} carried everything home and hid it.", "all day {he} carried it home, bit by bit.")
    s.any(
        "{Q} came by. «I am so hungry,» {qhe} said. «Do you have something to eat?»",
        "in the evening, {Q} came. «Could you spare a little food?» {qhe} asked.",
    )
    s.any(
        "«No,» said {P}, «I have nothing.»", "«I need it all for the winter,» said {P}, and {he} turned away."
    )
    s.any("{Q} went away without a word.", "{Q} nodded sadly and left.")
    s.any(
        "that night, {P} could not sleep. {he} had so much food, but {he} was alone.",
        "{P} ate and ate, but it was no fun to eat alone.",
    )
    s.any(
        "then the rain came in and [wet everything|washed half of it away].",
        "soon the first snow fell, and it was very quiet.",
    )
    s.any("{P} thought of {Q} out in the cold.", "«What is it all for,» thought {P}, «if I have no friends?»")
    s.any("so {he} packed a basket and went to find {qhim}.", "{S} ran out into the cold to look for {qhim}.")
    s.any("{Q} was sitting {spot2}. «I am sorry,» said {P}. «Please come and eat with me.»")
    s.any(
        "they invited {R} as well, and it was the [happiest|best] supper of the year.",
        "they ate together, and suddenly everything tasted twice as good.",
    )
    s.end("sharing")


def stranger(s: Story) -> None:
    s.begin("{P} heard that [a stranger|someone new] had come to {where}.")
    s.any("«They say it is [huge|wild] and dangerous,» said {R}.", "«I saw a big shadow {spot1},» said {R}.")
    s.any("everyone was afraid and stayed at home.", "nobody wanted to go near.")
    s.any("{P} was afraid too, but {he} was also curious.", "but {P} wanted to see for {himself}.")
    s.any(
        "{S} crept closer and looked. There sat {Q}, all alone.",
        "{spot1}, {he} saw {Q}, who was sitting there and crying softly.",
    )
    s.any("«Why are you crying?» asked {P}.", "«Hello,» said {P} in a small voice.")
    s.any(
        "{Q} looked up. «I am new here,» {qhe} said, «and everyone runs away from me.»",
        "«I have no friends here,» said {Q}. «Everyone thinks that I am bad.»",
    )
    s.any(
        "«You do not look bad to me,» said {P}.",
        "{P} was no longer afraid. «I will be your friend,» {he} said.",
    )
    s.any(
        "they [shared some {food}|played a game|talked for a long time].",
        "{Q} knew wonderful stories from far away, and {P} listened to them all.",
    )
    s.any("the next day, {P} took {Q} to the others.", "then {P} called {R} and all the others.")
    s.any(
        "{R} was ashamed. «We should have said hello,» {rhe} said.",
        "at first they were shy, but soon they were all laughing together.",
    )
    s.end("kindness", s.rng.choice(["now {Q} was no longer a stranger.", "so {Q} found a home.", ""]))


def moon(s: Story) -> None:
    s.introduce()
    s.any(
        "every night, {he} looked at the moon. «I want to [hold|have] it,» {he} said.",
        "{he} loved the moon and wished to [catch it|take it home].",
    )
    s.any(
        "one night, {he} climbed {hill} and reached up, but the moon was too high.",
        "one clear night, {he} went up {hill}. The moon was still far away.",
    )
    s.any(
        "then {he} [jumped|stretched] as high as {he} could, but it was no use.",
        "{S} stood on a tall stone, but that did not help.",
    )
    s.meet()
    s.any("«What are you doing?» asked {Q}.", "«Why are you not asleep?» asked {Q}.")
    s.any("«I want to catch the moon,» said {P}.", "«I want to take the moon home,» said {P}.")
    s.any(
        "{Q} laughed softly. «Come with me,» {qhe} said.",
        "{Q} thought for a while. «I will show you something,» {qhe} said.",
    )
    s.any(
        "they went to {water}. There, in the water, was the moon, round and bright!",
        "{qhe} led {him} to {water}, and there lay the moon in the dark water.",
    )
    s.any(
        "{P} reached out. The moon broke into a hundred silver pieces.",
        "when {P} touched it, it danced away in little waves.",
    )
    s.any(
        "«Oh no!» cried {P}. «Wait,» said {Q}, and soon the moon was whole again.",
        "{P} waited, and slowly the moon came back.",
    )
    s.any(
        "«Nobody can own the moon,» said {Q}, «but everyone can look at it.»",
        "«It is there for everyone,» said {Q}. «That is why it stays so high.»",
    )
    s.any(
        "so they sat side by side and looked at it together.",
        "{P} smiled and [said good night to the moon|waved to it].",
    )
    s.end("content")


def kite(s: Story) -> None:
    s.weather = "windy"
    toy = s.rng.choice(["red kite", "yellow kite", "blue balloon", "straw hat", "paper plane"])
    s.begin(f"{{P}} was playing with {{his}} {toy} [near {{hill}}|outside].")
    s.any(
        f"suddenly a strong wind came and carried the {toy} away.",
        f"whoosh! The wind took the {toy} and blew it high into the air.",
    )
    s.any("«Come back!» cried {P}, and {he} ran after it.", "{S} ran and ran, but the wind was faster.")
    s.any(
        f"at last the {toy} got caught at the top of a tall tree.",
        f"the {toy} landed in a tree, far too high for {{him}}.",
    )
    s.any(
        "{S} jumped, but {he} could not reach it.",
        "{S} shook the tree, but nothing happened.",
        "{S} threw a stick, but it did not come down.",
    )
    bird = s.Q.gait == "flew"
    s.meet()
    s.ask()
    s.any(
        f"«My {toy} is up there,» said {{P}}, and {{he}} pointed.", f"«The wind took my {toy},» said {{P}}."
    )
    if bird:
        s.any(
            "«That is easy for me,» said {Q}, and {qhe} flew up.",
            "{Q} spread {qhis} wings and flew to the top.",
        )
        s.say(f"{{qhe}} pulled [gently|carefully] until the {toy} came free.")
    else:
        s.any("«Let us think,» said {Q}. «Alone we are too short. But together we are tall.»")
        s.any(
            "{P} climbed onto {Qs} shoulders and reached up."
            if s.Q.size >= s.P.size
            else "{Q} climbed onto {Ps} shoulders and reached up."
        )
        s.any(
            f"almost, almost... and then the {toy} came down!",
            f"with a long stick they pushed the {toy} down.",
        )
    s.thank()
    s.any(
        f"then they played with the {toy} together until evening.",
        "«Would you like to play with me?» asked {P}, and they played until it grew dark.",
    )
    s.end("friendship", s.rng.choice([f"and this time, {{P}} held the {toy} very tightly.", ""]))


def sick_friend(s: Story) -> None:
    s.begin("{P} heard that {Q} was ill.")
    s.any("«I must [visit|help] {qhim},» {he} said.", "{Q} lay in bed and could not come out to play.")
    gift = s.rng.choice(
        [
            "a pot of hot soup",
            "a jar of honey",
            "a bunch of fresh herbs",
            "some warm tea",
            "a basket of {food2}",
        ]
    )
    s.any(f"{{S}} [made|prepared|got] {gift} and set out.", f"{{S}} took {gift} and started on {{his}} way.")
    s.detail(0.8)
    s.any(
        "the way was long, and {he} had to cross {water}.",
        "{S} had to go over {hill}, and the path was steep.",
    )
    s.any(
        "halfway there, {he} met {R}. «Where are you going in such weather?» asked {R}.",
        "on the way, {he} met {R}. «Come and play,» said {R}.",
    )
    s.any(
        "«{myQ} is ill, and I am bringing {qhim} something,» said {P}.",
        "«I cannot,» said {P}. «{myQ} is ill and needs me.»",
    )
    s.any(
        "«Then I will come too,» said {R}, «[and I will sing for {qhim}|two are better than one].»",
        "{R} gave {him} a flower for {Q}.",
    )
    s.any("at last {he} arrived. {Q} was lying in bed, [pale and tired|under a thick blanket].")
    s.any(
        "«You came all this way for me?» {qhe} [asked|whispered].",
        "when {Q} saw {him}, {qhis} eyes began to shine.",
    )
    s.any(
        "{P} sat beside the bed and told {qhim} funny stories.",
        ("{P} stayed all day and held {qhis} hand." if s.human else "{P} stayed all night beside {qhim}."),
    )
    s.any(
        "a few days later, {Q} was well again.",
        "the next morning, {Q} could already smile, and soon {qhe} was well.",
    )
    s.any("«It was not only the gift,» said {Q}. «It was you.»", "«The best medicine is a friend,» said {Q}.")
    s.end("friendship")


def practice(s: Story) -> None:
    skill = s.rng.choice(
        [
            ("play the flute", "only a squeak came out", "a sweet song rang out"),
            ("whistle", "only air came out", "a clear, bright whistle rang out"),
            ("skate on the ice", "{he} fell down at once", "{he} glided over the ice like a bird"),
            ("dance", "{he} fell over {his} own feet", "{he} danced so well that everyone clapped"),
            ("paint", "the picture looked like mud", "the picture was full of light and colour"),
            ("juggle", "the apples rolled everywhere", "three apples flew through the air in a circle"),
            ("sing", "it sounded like an old gate", "it sounded so lovely that even the birds were silent"),
        ]
    )
    if "skate" in skill[0]:
        s.season, s.weather = "winter", "snowy"
    s.begin(f"{{P}} [decided|wanted] to learn to {skill[0]}.")
    s.any(f"but the first time, {skill[1]}.", f"{{S}} tried, but {skill[1]}.")
    s.any(
        "{R} laughed. «You will never learn it,» {rhe} said.",
        "everybody laughed, and {P} turned red." if s.human else "everybody laughed.",
    )
    s.any("{P} wanted to give up.", "«I cannot do it,» {P} said sadly.")
    s.meet()
    s.any(
        "«I could not do it at first either,» said {Q}. «[Try a little every day|Practise every day].»",
        "«How often have you tried?» asked {Q}. «Once,» said {P}. «Then try a hundred times,» said {Q}.",
    )
    s.any("so {P} practised every morning and every evening.", "{P} practised in the rain and in the sun.")
    s.any(
        "after a week, it was a little better.",
        "some days it went badly, and some days it went well.",
        (
            "{S} fell, got up and tried again."
            if "skate" in skill[0] or skill[0] == "dance"
            else "again and again {he} tried."
        ),
    )
    s.any(
        "then came the day of the festival. {P} stood up in front of everyone.",
        "one evening, all the friends came together, and {P} stepped forward.",
    )
    s.any(
        "{his} heart was beating fast.",
        ("{his} knees were shaking." if s.P.kind in ("child", "paw", "hoof") else "{S} took a deep breath."),
    )
    s.any(f"{{S}} took a deep breath, and {skill[2]}.", f"then {skill[2]}.")
    s.any(
        "«I knew it,» said {Q}, and {qhe} smiled.",
        (
            "even {R} clapped. «I am sorry that I laughed,» {rhe} said."
            if s.R.met
            else "everyone clapped and cheered, and {Q} clapped loudest of all."
        ),
    )
    s.end("practice")


def noise(s: Story) -> None:
    source = s.rng.choice(
        [
            ("a small [kitten|puppy] that was shut out", "it was cold and hungry"),
            ("a branch that was knocking against the wall", "the wind was moving it up and down"),
            ("a tiny cricket that sat in a corner", "it was playing its evening song"),
            ("a young owl that had fallen from its nest", "it was calling for its mother"),
            ("a little hedgehog that was eating an apple", "it was enjoying its supper very loudly"),
        ]
    )
    sound = {
        "kitten": "scratch, scratch",
        "branch": "knock, knock",
        "cricket": "chirp, chirp",
        "owl": "hoo, hoo",
        "hedgehog": "crunch, crunch",
    }
    word = next(v for k, v in sound.items() if k in source[0])
    s.introduce()
    s.any(
        "one [dark|windy|cold] night, {he} woke up. [There was a strange noise|Something was making a noise].",
        "one night, {he} could not sleep because of a strange noise.",
    )
    s.any(f"«{word.capitalize()},» it went.", f"{word}... What was that?")
    s.any(
        ("{S} pulled the blanket over {his} head." if s.human else "{S} curled up and covered {his} eyes."),
        "«Perhaps it is a monster,» {he} thought, and {he} shivered.",
    )
    s.any("there it was again, louder than before.", f"«{word.capitalize()},» it went again.")
    s.any("{S} went to wake {Q}. «Do you hear it?» {he} whispered.", "{S} ran to {Q} and woke {qhim} up.")
    s.any(
        "«Let us go and look,» said {Q}. «[Things are smaller when you look at them|There is nothing to fear].»",
        "{Q} listened. «I am a little afraid too,» {qhe} said, «but together we can look.»",
    )
    s.any(
        "they took a [lantern|candle] and crept [outside|through the dark].",
        "side by side, they tiptoed through the dark.",
    )
    s.any("closer and closer they came, and the noise grew louder.", "step by step, they came nearer.")
    s.say(f"and then they saw it. It was only {source[0]}!")
    s.any(f"{source[1]}.")
    s.any("{P} laughed with relief.", "they looked at each other and began to laugh.")
    if "branch" in source[0]:
        s.any("{Q} tied the branch back, and it was quiet.")
    elif "cricket" in source[0]:
        s.any("they sat down and listened to the song until they were sleepy.")
    elif "hedgehog" in source[0]:
        s.any("they wished it a good meal and went back to bed.")
    else:
        s.any("they took it inside and gave it something to eat.", "they carried it to a safe, warm place.")
    s.end("courage")


def bridge(s: Story) -> None:
    s.begin("{P} wanted to [visit|see] {R}, who lived on the other side of {crossing}.")
    s.any("but the [old|wooden] bridge was broken.", "but the rain had washed the bridge away.")
    s.any("the water was deep and fast.", "{S} looked at the deep, cold water. It was too dangerous to swim.")
    s.any(
        "{S} tried to jump from stone to stone, but the stones were slippery, and {he} fell in with a splash.",
        "{S} threw a branch into the water, and it was carried away at once.",
    )
    s.meet()
    s.any("«I want to cross too,» said {Q}.", "«The bridge is broken,» said {P}. «I see,» said {Q}.")
    s.any(
        "«We could build a [raft|new bridge],» said {P}.",
        "«I have an idea,» said {Q}. «We could build something.»",
    )
    s.any(
        "they looked for [long branches|strong logs], and {P} [brought rope|found strong vines].",
        "{P} carried the sticks, and {Q} tied them together.",
    )
    s.any("it was hard work, and once everything fell apart.", "the first one sank, but they tried again.")
    s.any("by the afternoon, it was ready.", "at last it was strong enough.")
    s.any(
        "carefully they went across, one step at a time.",
        "«Are you ready?» asked {Q}. «Ready!» said {P}, and they went across.",
    )
    s.any("{R} was waiting on the other side and waved.", "on the other side, {R} cheered and clapped.")
    s.any(
        "from then on, everyone could cross, and they called it the Bridge of Friends."
        if s.chance(0.5)
        else "«Now we can visit each other every day,» said {R}."
    )
    s.end("friendship")


def pulling(s: Story) -> None:
    thing = s.rng.choice(["huge turnip", "giant carrot", "heavy cart", "big old log", "great pumpkin"])
    stuck = (
        "in the mud" if thing == "heavy cart" else ("across the path" if "log" in thing else "in the ground")
    )
    s.begin(
        f"{{P}} [found|saw] a {thing} that [was stuck|sat firmly] {stuck}."
        if "log" not in thing
        else f"{{P}} found a {thing} that lay {stuck}."
    )
    s.any("{S} pulled and pulled, but it did not move.", "{S} pushed with all {his} might. Nothing happened.")
    s.any(
        "so {he} called {Q}. They pulled together, but it still did not move.",
        "{Q} came to help. «One, two, three!» they cried. It did not move.",
    )
    s.any(
        "then {R} came and pulled as well. It moved a little, but not enough.",
        (
            "{R} joined them. They pulled until they were red in the face, but it was no use."
            if s.human
            else "{R} joined them. They pulled until they were out of breath, but it was no use."
        ),
    )
    tiny = s.rng.choice(["mouse", "beetle", "ladybird", "ant"])
    s.any(
        f"a tiny {tiny} came along. «May I help?» it asked.",
        f"«Let me help,» said a small voice. It was a tiny {tiny}.",
    )
    s.any("everyone laughed. «You are much too small,» said {R}.", "«You?» said {Q}. «What can you do?»")
    s.any(
        f"«Let it try,» said {{P}}. So the {tiny} took hold with the others.",
        f"but {{P}} said, «Every bit helps.»",
    )
    s.any(
        "one, two, three... and with a great jerk it came free!",
        "they all pulled once more. Pop! It came loose, and they fell on their backs.",
    )
    s.any(
        f"«You see,» said the {tiny}, «it was only a little bit that was missing.»",
        f"nobody laughed at the {tiny} any more.",
    )
    if "log" in thing or "cart" in thing:
        s.any(
            "then the way was free, and they all went home singing.",
            "they were tired and muddy, but very proud.",
        )
    else:
        s.any(
            "that evening, they made soup, and there was enough for all.",
            f"they cooked it in the biggest pot, and the {tiny} got the first spoon.",
        )
    s.end("humility")


def bottle(s: Story) -> None:
    s.begin("{P} found a green bottle [at the edge of|in] {water}.")
    s.any("inside was a piece of paper.", "there was something inside: a rolled piece of paper.")
    s.any(
        "{S} pulled out the cork and unrolled it."
        if s.P.kind in ("child", "paw")
        else "{S} got the paper out and unrolled it."
    )
    if s.chance(0.5):
        s.any(
            "it was a map with a red cross on it.",
            "it was an old map. A line led from {water} to a red cross.",
        )
        s.any(
            "{S} showed it to {Q}. «A treasure!» {qhe} cried.",
            "«Let us go and look,» said {Q}, and they set out.",
        )
        s.any(
            "they followed the map past [the three stones|the crooked tree] and up {hill}.",
            "the way led them {spot1} and then {spot2}.",
        )
        s.any(
            "«Here it must be,» said {P}, and they began to dig.",
            "where the cross was, they dug a deep hole.",
        )
        s.any("at last they [hit something hard|found a small chest].")
        s.any(
            "there was no gold inside. There was [a {thing}|a little book of songs] and a note.",
            "they opened the lid. Inside lay [a {thing}|an old picture] and a letter.",
        )
        s.any("it said, «The real treasure is the friend who came with you.»")
        s.any(
            "{P} and {Q} looked at each other and smiled.",
            "«That is true,» said {Q}, and they laughed all the way home.",
        )
        s.end("friendship")
    else:
        s.any(
            "it said, «I live on the other side of the water, and I am lonely. Please write to me.»",
            "it said, «Whoever finds this, please be my friend.»",
        )
        s.any(
            "{P} wrote an answer and drew a picture of {where}.",
            "that evening, {P} wrote a long letter about {where}.",
        )
        s.any("{S} put it into the bottle and threw it far out.", "{Q} helped {him} to send the bottle back.")
        s.any("{S} waited for days and weeks.", "every day {he} went to look, but the water was empty.")
        s.any("«Perhaps it is lost,» {he} said. «[Wait a little longer|Do not give up],» said {Q}.")
        s.any("then, one morning, the green bottle was there again, with a new letter in it.")
        s.any(
            "«Thank you,» it said. «Now I am not alone any more.»",
            "in it were a dried flower and the words: «I am so happy.»",
        )
        s.end("friendship", "the bottle went back and forth for many [years|summers].")


def clock_tower(s: Story) -> None:
    s.season, s.weather = "spring", s.rng.choice(["sunny", "windy"])
    s.begin("{P} noticed that the clock on the tower had stopped.")
    s.any(
        "without it, everything went wrong. The baker was late, and the school began too early.",
        "nobody knew what time it was, and everyone was angry.",
    )
    s.any(
        "the mayor shook his head. «Who can mend it?» he asked.", "«Someone must climb up,» said the mayor."
    )
    s.any(
        "«I will go,» said {P}. {Q} gave {him} a lamp and came too.",
        "{P} and {Q} climbed the narrow stairs, round and round.",
    )
    s.any(
        "it was dark and dusty up there, and the big wheels stood still.",
        "there were a hundred steps, and they were out of breath.",
    )
    s.any("then {P} heard a soft peep.", "«Listen,» whispered {P}. «Did you hear that?»")
    s.any(
        "between the wheels was a nest, and in the nest were [three|four] tiny birds.",
        "a bird had built its nest among the wheels, and now there were chicks in it.",
    )
    s.any(
        "«If we start the clock, the nest will fall,» said {Q}.", "«We cannot start the clock now,» said {P}."
    )
    s.any(
        "so they went down and told everyone. «Then we will wait,» said the people.",
        "the people grumbled at first. But then they [smiled|agreed] and decided to wait.",
    )
    s.any(
        "for three weeks, {P} rang a hand bell every hour.",
        "every hour, {P} ran through the streets and called out the time.",
    )
    s.any(
        "one morning, the young birds flew away over the roofs.",
        "then the chicks were big enough, and they flew out into the blue sky.",
    )
    s.any(
        "the clock began to tick again, and everyone cheered.",
        "that day the clock rang again, and it sounded more beautiful than before.",
    )
    s.end("patience")


def magic_gift(s: Story) -> None:
    gift = s.rng.choice(
        [
            (
                "a small lamp",
                "it will shine for anyone who is lost",
                "one night, {R} was lost in the fog, and {P} held up the lamp",
                "its light went through the fog like a golden thread",
                "{R} found the way home",
            ),
            (
                "a little pot",
                "it will cook soup for the hungry, but never for the greedy",
                "in the winter, {R} had nothing left to eat, and {P} put the pot on the fire",
                "the pot began to bubble all by itself",
                "there was soup for everyone",
            ),
            (
                "a silver whistle",
                "it will call a friend when you need one",
                "one day, {R} fell into a deep hole, and {P} blew the whistle",
                "friends came running from every side",
                "they pulled {R} out",
            ),
            (
                "a blue seed",
                "it will grow where you are kind",
                "the next day, {P} helped {R} to carry wood, and the seed fell to the ground",
                "at once a blue flower grew there",
                "it smelled so sweet that everyone smiled",
            ),
            (
                "a warm red scarf",
                "it is long enough for two",
                "on the coldest night, {R} was freezing, and {P} put the scarf around them both",
                "the scarf grew longer and longer",
                "neither of them was cold any more",
            ),
        ]
    )
    s.begin("{P} met {Q} on the path. {qhe} was [tired|cold] and carried a heavy bag.")
    s.any("others had walked past. But {P} stopped.", "«May I help you?» asked {P}.")
    s.any(
        "{S} carried the bag all the way up {hill}.",
        "{S} shared {his} {food} with {qhim} and carried the bag.",
    )
    s.any(
        f"«You have a good heart,» said {{Q}}. «Take this.» And {{qhe}} gave {{him}} {gift[0]}.",
        f"before {{qhe}} left, {{Q}} gave {{him}} {gift[0]}.",
    )
    s.any(
        f"«It is magic,» {{qhe}} said. «{gift[1].capitalize()}.»",
        f"«{gift[1].capitalize()},» {{qhe}} said [softly|with a smile].",
    )
    s.any("{P} did not quite believe it, but {he} took it home.", "{P} thanked {qhim} and took it home.")
    s.say(gift[2] + ".")
    s.any(
        "at first nothing happened. Then [something wonderful happened|it began].",
        "for a moment, all was quiet.",
        "",
    )
    s.say(gift[3] + ".")
    s.say(f"and {gift[4]}.")
    s.any(
        "«How did you do that?» asked {R}. «It was a present,» said {P}, «from someone I helped.»",
        "{P} looked for {Q} to thank {qhim}, but {qhe} was gone.",
    )
    s.end("kindness")


def rooster(s: Story) -> None:
    s.say(
        s.rng.choice(
            [
                "once upon a time, there was a [proud|big] rooster who lived on a farm.",
                "there was once a proud rooster on a small farm.",
                "a proud rooster lived on a farm behind the hills.",
            ]
        )
    )
    s.any(
        "every morning he crowed, and then the sun rose.",
        "each day he crowed at dawn, and then it grew light.",
    )
    s.any(
        "«The sun rises because of me,» he told everyone.",
        "«Without me, it would be dark for ever,» he said.",
    )
    s.any(
        "the [hens|ducks] believed him, and he grew prouder every day.",
        "he wanted the best corn and the highest place on the fence.",
    )
    s.any(
        "one [winter|cold] evening, he caught a cold and lost his voice.",
        "one night, a fox chased him, and he hid in the barn and overslept.",
    )
    s.any("in the morning, he could not crow.", "he woke up much too late.")
    s.any(
        "«Now it will be dark all day!» he thought with horror.",
        "«Now the sun will not rise,» he thought, and he was afraid.",
    )
    s.any(
        "but then he saw a golden light over the hill. The sun was rising without him.",
        "but when he looked outside, the sun was shining over the fields.",
    )
    s.any("he felt very small and hid behind the barn.", "he was so ashamed that he hung his head.")
    s.any("an old [donkey|hen|goose] sat down beside him.", "the old dog came to him.")
    s.any(
        "«The sun does not need you,» came the gentle words. «But we do. Your song tells us that the day is new.»",
        "«You do not make the sun rise,» was the kind answer, «but you wake us up, and we love your song.»",
    )
    s.any("the rooster thought about it for a long time.", "the rooster smiled for the first time that day.")
    s.any(
        "the next morning, he crowed again, not for the sun, but for his friends.",
        "from then on, he crowed for joy and not for glory.",
    )
    s.any("and it sounded better than ever.", "«It is better to be loved than to be great,» he said.", "")


def leaf(s: Story) -> None:
    tree = s.rng.choice(["an old oak", "a tall maple", "a birch tree", "an apple tree"])
    s.any(
        f"once upon a time, there was a little leaf on the highest branch of {tree}.",
        f"a little leaf grew at the top of {tree}.",
        f"there was once a small leaf that lived on {tree}.",
    )
    s.any(
        "all summer long, it danced in the warm wind.",
        "it loved the sun, the rain and the songs of the birds.",
    )
    s.any(
        "then autumn came, and the other leaves turned red and gold.",
        "but the days grew short, and the other leaves turned yellow.",
    )
    s.any("one by one, they fell to the ground.", "every day, some of them let go and sailed away.")
    s.any(
        "«I am afraid to fall,» said the little leaf, and it held on tightly.",
        "the little leaf was afraid. «I do not want to go,» it said.",
    )
    s.any(
        "«Falling is a kind of flying,» whispered the [wind|tree].",
        "«Do not be afraid,» said the tree. «Every leaf has its journey.»",
    )
    s.any("the leaf thought about it all night.", "for three days, the leaf stayed there all alone.")
    s.any("in the morning, it let go.", "then a soft wind came, and the leaf let go.")
    s.any(
        "it turned and danced and flew over the roofs and the river.",
        "up it went, higher than the tree, and it saw the whole valley.",
    )
    s.any("«How wonderful!» it cried.", "it had never seen so much of the world.")
    s.any(
        "at last it landed softly beside a sleeping [hedgehog|beetle|mouse] and kept it warm all winter.",
        "a girl picked it up and put it in her favourite book.",
        "it came down on a small seed and covered it like a blanket.",
    )
    s.any(
        "and in spring, a new leaf grew where it had been.",
        "and it was never afraid again.",
        "sometimes letting go is the start of an adventure.",
    )


def shop(s: Story) -> None:
    trade_name, goods, place, sign = s.rng.choice(
        [
            ("baker", "bread", "bakery", "the smell of fresh bread"),
            ("toymaker", "wooden toys", "toy shop", "the sound of a little drum"),
            ("candle maker", "candles", "candle shop", "a hundred small lights"),
            ("gardener", "flowers", "flower shop", "the smell of roses"),
            ("shoemaker", "shoes", "shoe shop", "the sound of his hammer"),
            ("potter", "cups and bowls", "pottery", "a row of bright blue cups"),
        ]
    )
    s.any(
        f"once upon a time, there was an old {trade_name} {{place}}.",
        f"there was once a {trade_name} who lived {{place}}.",
        f"{{place}}, there was a poor {trade_name}.",
    )
    s.any(
        f"he made the best {goods} in the land, but few people came.",
        (
            f"his {goods} were good, but his {place} stood in a dark lane where nobody passed."
            if goods != "bread"
            else "his bread was good, but his bakery stood in a dark lane where nobody passed."
        ),
    )
    s.any(
        f"«Soon I shall have to close,» he said sadly.",
        f"each evening, the {trade_name} counted his coins and sighed.",
    )
    s.say(
        "{when} {P} came in out of the [cold|rain]."
        if s.weather in ("rainy", "snowy", "foggy")
        else "{when} {P} came in."
    )
    s.any(
        "{he} had no money, but the old man gave {him} [a cup of tea|something warm to drink] all the same.",
        "«May I look around?» {he} asked. «Of course,» said the old man.",
    )
    s.any(
        "«Why is nobody here?» asked {P}.",
        "{P} looked around. «It is beautiful here,» {he} said. «Why is it so empty?»",
    )
    s.any("«Nobody knows the way,» said the old man.", "the old man only shrugged.")
    s.any(
        "{P} had an idea. {he} opened the door and all the windows wide.",
        "«Wait,» said {P}, and {he} carried a table out to the corner of the street.",
    )
    s.any(
        f"soon {sign} filled the street, and people stopped.",
        f"people noticed {sign} and turned their heads.",
    )
    s.any(
        "first one came, then two, and then there was a long line.",
        "«What is this?» they asked, and they came in.",
    )
    s.any(
        f"by evening, all the {goods} {'was' if goods == 'bread' else 'were'} sold.",
        "that day, the old man laughed for the first time in years.",
    )
    s.any(
        f"«You shall be my helper,» said the {trade_name}, «and one day the {place} will be yours.»",
        "«How can I thank you?» asked the old man. «Teach me,» said {P}.",
    )
    s.any(
        "and so {he} learned everything, and the two of them were never [lonely|poor] again.",
        "{P} came every day after school, and the lane was never empty again.",
    )


def snow_friend(s: Story) -> None:
    s.season, s.weather, s.details_left = "winter", "snowy", 0
    s.begin("{P} ran outside. The first snow had fallen!", "")
    s.any(
        "everything was white and quiet.",
        (
            "{S} jumped and laughed and caught flakes {hold}."
            if s.P.kind == "child"
            else "everything sparkled."
        ),
    )
    s.any(
        "«I will build a snowman,» {he} said. {Q} came to help.",
        "together with {Q}, {he} began to roll a big ball.",
    )
    s.any(
        "they made a big ball, a middle ball and a small ball.",
        "the ball grew bigger and bigger until they could hardly push it.",
    )
    s.any(
        "they gave it a carrot nose and two black stones for eyes.",
        "{Q} found a carrot, and {P} found two round stones.",
    )
    s.any(
        "«It looks cold,» said {P}, and {he} gave it {his} scarf."
        if s.human
        else "«It needs a hat,» said {P}, and they found an old bucket."
    )
    s.any(
        "that night, {P} looked out. «Good night,» {he} called. And it seemed to nod.",
        "at night, when the moon was shining, it seemed to smile.",
    )
    s.any(
        "they visited it every day and told it all their secrets.",
        "all winter long, it stood there and kept watch.",
    )
    s.any(
        "but then the sun grew warm, and the snowman grew thin.",
        "then spring came, and the snow began to melt.",
    )
    s.any(
        "{P} was sad. «Please do not go,» {he} said.",
        "one morning, only the carrot and the stones were left, and {P} wept.",
    )
    s.any(
        "«It is not gone,» said {Q}. «It has become water for the flowers. And next winter it will come again.»",
        "«Look,» said {Q}. Where it had stood, the first snowdrop was growing.",
    )
    s.end(
        "patience",
        s.rng.choice(["{P} kept the stones in a box until the next snow.", "and {P} smiled again.", ""]),
    )


def star_wish(s: Story) -> None:
    wish = s.rng.choice(
        [
            ("a friend", "friendship"),
            ("a great adventure", "home"),
            ("a song of {his} own", "content"),
            ("wings to see the world", "content"),
        ]
    )
    if s.P.gait == "flew" and "wings" in wish[0]:
        wish = ("a friend", "friendship")
    s.introduce()
    s.any(f"{{he}} had one wish: {wish[0]}.", f"more than anything, {{he}} wished for {wish[0]}.")
    s.any(
        "one night, a star fell from the sky and landed {spot1}.",
        "one night, {he} saw a small light {spot1}. It was a fallen star.",
    )
    s.any(
        "it was no bigger than an apple, and it was crying.",
        "it was small and warm, and its light was growing weak.",
    )
    s.any(
        "«I have fallen,» said the star, «and I cannot go back. Will you help me?»",
        "«Please take me to the highest place,» said the star.",
    )
    s.any(
        "{S} picked it up carefully and carried it {hold}.",
        "«Of course,» said {P}, and {he} carried it {hold}.",
    )
    s.any(
        "the way up {hill} was long and dark, but the star lit the path.",
        "they met {Q}, who showed them the way up {hill}.",
    )
    s.any(
        "on the way, they talked and laughed, and the star told {him} about the sky.",
        "{S} was tired, but {he} did not stop.",
    )
    s.any("at the top, the star began to glow. «Now make a wish,» it said.")
    if wish[1] == "friendship":
        s.any(
            "{P} thought of the long way they had come. «You have been my friend tonight,» {he} said. «I have my wish already.»"
        )
    elif wish[1] == "home":
        s.any("{P} laughed. «This was my great adventure,» {he} said. «Now I only wish to go home.»")
    else:
        s.any(
            "{P} looked down at the lights of {where} and felt happy. «I have all that I need,» {he} said. «I wish that you get home safely.»"
        )
    s.any(
        "the star flew up and took its place in the sky.",
        "with a soft sound, the star rose higher and higher.",
    )
    s.any(
        "every night since then, one star has twinkled just for {him}.", "and every night, it winks at {P}."
    )
    s.end(wish[1])


def new_song(s: Story) -> None:
    s.begin("{P} woke up to a strange silence. [The birds were not singing|No bird was singing].")
    s.any("«Where has the music gone?» {he} wondered.", "without their songs, {where} felt empty.")
    s.any(
        "{S} asked {R}. «[They are too sad|They have lost their song],» said {R}. «The old nightingale is ill.»",
        "«The old nightingale taught them every song,» said {R}, «and now she cannot sing.»",
    )
    s.any("{S} went to the nightingale with {Q}.", "together with {Q}, {he} visited the nightingale.")
    s.any(
        "«I am old,» she said. «I have forgotten my song.»",
        "she sat on a low branch with closed eyes. «The song is gone,» she whispered.",
    )
    s.any(
        "{P} thought hard. «I have heard it every morning of my life,» {he} said.",
        "«But I remember it,» said {P}.",
    )
    s.any("{he} began to hum, softly and a little wrong.", "{he} hummed the first notes, and {Q} joined in.")
    s.any(
        "the nightingale opened one eye. «Not like that,» she said. «Like this.»",
        "the nightingale lifted her head. «No, no,» she said, «it goes higher.»",
    )
    s.any(
        "and she sang, first quietly, then clear and strong.",
        "her voice was weak at first, but it grew with every note.",
    )
    s.any("one by one, the other birds joined in.", "from every tree, the birds answered.")
    s.any("soon all of {where} was full of music again.", "it was the most beautiful morning of the year.")
    s.any(
        "«You gave me back my song,» said the nightingale.",
        "«A song is never lost,» said {Q}, «as long as someone remembers it.»",
    )
    s.end("listening")


def baby_bird(s: Story) -> None:
    s.season = s.rng.choice(["spring", "summer"])
    s.weather = "sunny"
    s.begin("{P} found a baby bird {spot1}. It had fallen from its nest.")
    s.any(
        "it was [tiny|small] and opened its beak wide.", "it could not fly yet, and it [peeped|called] sadly."
    )
    s.any("«Do not be afraid,» said {P} [softly|gently].", "{S} looked up, but the nest was very high.")
    s.any("{S} asked {Q} what to do.", "{S} ran to {Q} for help.")
    s.any("«We must bring it back to its mother,» said {Q}.", "«It needs to be warm,» said {Q}.")
    s.any(
        (
            "{Q} held the ladder, and {P} climbed up with the bird."
            if s.human
            else "{P} made a little bed of moss, and {Q} kept the bird warm."
        ),
        "they made a small nest of grass and moss and put the bird into it.",
    )
    s.any(
        "all day long, they brought it [seeds|crumbs] and [water|berries].", "it ate a lot and slept a lot."
    )
    s.any("after some days, it had real feathers.", "day by day, it grew stronger.")
    s.any(
        "then it spread its wings, fell, and tried again.",
        "«You can do it,» said {P}, and the bird began to beat its wings.",
    )
    s.any(
        "one bright morning, it flew! Once around the tree it went, and then up into the sky.",
        "at last it flew up, higher and higher.",
    )
    s.any("{P} was happy and sad at the same time.", "«Goodbye,» called {P}, and {he} waved for a long time.")
    s.any(
        "but the next spring, a bird sat {spot2} and sang for {him} every day.",
        "every evening, the bird came back and sang a song for {him}.",
    )
    s.end("kindness")


def journey(s: Story) -> None:
    s.begin("{P} decided to see [the world|what lay behind {hill}].", "{he} had never been away from home.")
    s.any(
        "{S} packed some {food} and said goodbye to {his} [mother|father].",
        "«I will be back soon,» {he} told {his} family.",
    )
    s.any(
        "{S} {gait} for a whole day and saw [many new things|strange flowers and tall trees].",
        "the road was long, and everything was new.",
    )
    s.any(
        "first {he} met {R}, who was [fishing|resting] by the road. «Where are you going?» asked {R}. «I do not know yet,» said {P}.",
        "{S} came to {R}, who gave {him} some water. «Take care,» said {R}.",
    )
    s.any(
        "{S} saw a city with a thousand lights.",
        "{S} saw a lake as blue as the sky.",
        "{S} saw a field of golden flowers that had no end.",
        "{S} saw mountains with snow on their heads.",
    )
    s.any(
        "«How beautiful!» {he} said. But there was nobody to tell.",
        "it was beautiful, but {he} wished that {his} friends could see it too.",
    )
    s.any(
        "at night, {he} lay under the stars and thought of home.",
        "when night came, {he} felt a little lonely.",
    )
    s.say("then {he} met {Q}, who [was travelling too|was on the way home].")
    s.any(
        "«What was the best thing that you saw?» asked {P}. «The door of my own house,» said {Q}, «when I come back.»",
        "«Do you miss your home?» asked {P}. «Every day,» said {Q}. «That is why I am going back.»",
    )
    s.any("{P} nodded. The next morning, {he} turned around.", "«I think I will go home too,» said {P}.")
    s.any("when {he} arrived, everyone ran to meet {him}.", "how good it was to smell the air of home!")
    s.any(
        "all evening long, {he} told them about the wide world.",
        "«Tell us everything,» they said, and {he} did.",
    )
    s.end("home")


def helping_work(s: Story) -> None:
    work = s.rng.choice(
        [
            ("bring in the hay before the rain", "summer"),
            ("pick the apples before the frost", "autumn"),
            ("clear the snow from the path", "winter"),
            ("mend the roof before the storm", "autumn"),
            ("dig the new garden", "spring"),
        ]
    )
    s.season = work[1]
    s.weather = s.rng.choice(SEASON_WEATHER[s.season])
    s.begin(f"{{P}} saw {{Q}}, who was trying to {work[0]}.")
    s.any(
        "{qhe} was alone, and there was so much to do.", "{Q} looked tired, and the work was far from done."
    )
    s.any("{P} had wanted to play. But {he} stopped.", "«I could play later,» thought {P}.")
    s.any(
        "«May I help?» {he} asked. {Q} [smiled|was glad]. «Two are faster than one.»",
        "«Two can do more than one,» said {P}, and {he} began at once.",
    )
    s.any(
        (
            "they worked side by side until {his} arms were sore."
            if s.human
            else "they worked side by side until they were both tired."
        ),
        "{P} worked hard, and {Q} sang a song to make it easier.",
    )
    s.any(
        "{R} came by. «Why do you work when you could play?» {rhe} asked.",
        "{R} watched them for a while. «That is no fun,» {rhe} said.",
    )
    s.any("«It is fun if you do it together,» said {P}.", "«Try it,» said {P}, «and you will see.»")
    s.any(
        "so {R} helped as well, and they laughed a lot.", "{R} thought about it, and then {rhe} joined them."
    )
    s.any("just as they finished, the sun went down.", "by evening, everything was done.")
    s.any(
        "{Q} brought out [bread and honey|a big pie|hot soup], and they ate under the [sky|stars].",
        "«Come in,» said {Q}, «supper is ready.» Nothing had ever tasted so good.",
    )
    s.end("friendship")


ANY_PLOTS: list[Callable[[Story], None]] = [
    lost_item,
    lost_way,
    found_item,
    storm,
    fear,
    rescue,
    seed,
    trade,
    birthday,
    cooking,
    contest,
    honesty,
    greedy,
    stranger,
    moon,
    kite,
    sick_friend,
    practice,
    noise,
    bridge,
    pulling,
    bottle,
    magic_gift,
    snow_friend,
    star_wish,
    new_song,
    baby_bird,
    journey,
    helping_work,
]
HUMAN_PLOTS = [key, key, clock_tower, shop]
OBJECT_PLOTS = [lonely_object] * 4 + [rooster, leaf]

UNFIT = {
    "snow": (seed, cooking, greedy, helping_work, baby_bird, pulling, new_song),
    "jungle": (snow_friend, helping_work, practice, greedy),
    "sea": (helping_work, greedy, pulling),
}

HELPERS_HE = [
    "{his} grandfather",
    "{his} father",
    "{his} brother",
    "an old [sailor|shepherd|gardener|farmer]",
    "{his} uncle",
    "the baker",
    "the postman",
    "a boy named {boy}",
]
HELPERS_SHE = [
    "{his} grandmother",
    "{his} mother",
    "{his} sister",
    "an old woman",
    "{his} aunt",
    "the baker's wife",
    "the teacher",
    "a girl named {girl}",
]


def animal_character(rng: random.Random, a: Animal, sex: str, used: set[str]) -> Character:
    adjective = rng.choice(a.adjectives)
    article = f"the {adjective} {a.species}"
    on = a.home.startswith(("a flat rock", "a quiet bank", "a hollow branch"))
    common = dict(
        plain=article,
        home=("on " if on else "in ") + a.home,
        food=a.food,
        gait=a.gait,
        kind=a.kind,
        size=a.size,
    )
    if rng.random() < 0.6:
        name = rng.choice([n for n in (PET_BOYS if sex == "he" else PET_GIRLS) if n not in used])
        used.add(name)
        first = f"a {adjective} {a.species} {rng.choice(['named', 'named', 'called'])} {name}"
        return Character(sex, first, name, f"{name} the {a.species}", **common)
    short = rng.choice([f"the {a.species}", f"the {a.species}", article])
    return Character(sex, f"a {adjective} {a.species}", short, article, named=False, **common)


def human_helper(rng: random.Random, sex: str, pronoun: str, used: set[str]) -> Character:
    text = rng.choice(HELPERS_HE if sex == "he" else HELPERS_SHE)
    text = re.sub(r"\[([^\]]*)\]", lambda m: rng.choice(m.group(1).split("|")), text)
    if "{boy}" in text or "{girl}" in text:
        name = rng.choice([n for n in (BOYS if sex == "he" else GIRLS) if n not in used])
        used.add(name)
        return Character(
            sex, rng.choice([name, text.format(boy=name, girl=name)]), name, name, kind="child", size=4
        )
    first = text.replace("{his}", pronoun)
    short = first
    if first.startswith("an old "):
        short = first.replace("an old", "the old")
    return Character(sex, first, short, short, kind="child", size=5, named=False)


def make_tale(rng: random.Random) -> str:
    roll = rng.random()
    human = roll < 0.42
    habitat = (
        rng.choice(HUMAN_PLACES) if human else rng.choice([h for h in HABITATS if h not in HUMAN_PLACES])
    )
    season = "winter" if habitat == "snow" else "summer" if habitat == "jungle" else rng.choice(list(SEASONS))
    sex = rng.choice(["he", "she"])
    other = "she" if sex == "he" else "he"
    used: set[str] = set()
    if human:
        name = rng.choice(BOYS if sex == "he" else GIRLS)
        used.add(name)
        food = rng.choice(
            ["warm bread", "apple cake", "sweet plums", "pancakes", "tomato soup", "fresh cherries"]
        )
        P = Character(sex, name, name, name, food=food, gait="walked")
        Q = human_helper(rng, other, PRONOUNS[sex][2], used)
        R = human_helper(rng, rng.choice(["he", "she"]), PRONOUNS[sex][2], used)
        while R.short == Q.short:
            R = human_helper(rng, rng.choice(["he", "she"]), PRONOUNS[sex][2], used)
    else:
        kinds = rng.sample([a for a in ANIMALS if habitat in a.habitats], 3)
        P, Q = (animal_character(rng, a, g, used) for a, g in zip(kinds, (sex, other)))
        R = animal_character(rng, kinds[2], rng.choice(["he", "she"]), used)
        if any(a.kind in ("insect", "other") for a in kinds) and season == "winter":
            season = "spring"
    weather = rng.choice(SEASON_WEATHER[season])
    place, where, water, hill, spots = HABITATS[habitat]
    spots = rng.sample(spots, 4)
    s = Story(rng, habitat, season, weather, P, Q, R)
    s.values = {
        "place": place,
        "place2": (
            "in " + where
            if habitat not in ("pond", "farm", "sea", "harbour")
            else {
                "pond": "by the pond",
                "farm": "on the farm",
                "sea": "on the beach",
                "harbour": "at the harbour",
            }[habitat]
        ),
        "where": where,
        "water": water,
        "hill": hill,
        "home": P.home,
        "food": P.food,
        "food2": Q.food or "ripe plums",
        "gait": P.gait,
        "qgait": Q.gait,
        "hold": P.hold(),
        "thing": rng.choice(TREASURES),
        "sexnoun": "boy" if sex == "he" else "girl",
        "crossing": water if water in ("the river", "the stream", "the brook") else "the stream",
        **{f"spot{i + 1}": spot for i, spot in enumerate(spots)},
    }
    s.values["when"] = s.when()
    pool = [p for p in ANY_PLOTS if p not in UNFIT.get(habitat, ())] + HUMAN_PLOTS * (2 if human else 0)
    plot = rng.choice(OBJECT_PLOTS) if roll > 0.88 else rng.choice(pool)
    plot(s)
    return s.text()


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--tales", type=int, default=80000)
    ap.add_argument("--exclude", type=Path, help="skip tales found in this file (for held-out sets)")
    ap.add_argument("--out", type=Path, required=True, help="text file, one tale a line")
    args = ap.parse_args()
    seen = set(args.exclude.read_text(encoding="utf-8").splitlines()) if args.exclude else set()
    rng = random.Random(args.seed)
    with args.out.open("w", encoding="utf-8") as out:
        written = 0
        while written < args.tales:
            tale = make_tale(rng)
            if tale not in seen:
                seen.add(tale)
                out.write(tale + "\n")
                written += 1


if __name__ == "__main__":
    main()
