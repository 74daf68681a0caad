"""What people ask a robot for: tasks, the kinds of object that serve them, and how they are put.

No phrasing names a kind of object, and none belongs to two tasks.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """Something to be done, and what does it."""

    name: str
    kinds: frozenset[str]
    """Kinds of object that serve the task: every visible one of them belongs in the mask."""
    phrasings: tuple[str, ...]
    """How the train, val and test splits put the task."""
    heldout_phrasings: tuple[str, ...]
    """How the uncommon split puts it: other sentences, mostly made of the same words."""


# fmt: off
TASKS: tuple[Task, ...] = (
    Task(
        "drink",
        frozenset({"mug", "bottle"}),
        (
            "something to drink from", "what could I drink from?", "I am thirsty and need a drink",
            "which of these can I sip from?", "hand me something I can drink out of",
            "my throat is dry, what holds a drink?", "find what I can take a sip from",
            "a thing that holds my drink", "I would like to drink some juice",
            "where is something for drinking water?", "pick whatever I could sip my tea from",
            "the guests are thirsty, what can they drink from?", "what do people drink out of?",
            "help me drink my lemonade", "which things are meant for drinking?",
            "get something for a thirsty child to drink from",
        ),
        (
            "I am thirsty, find something to sip from", "which thing holds a drink for the guests?",
            "hand me whatever I could drink my juice from", "what is meant for drinking tea?",
            "where can I take a drink of water from?",
        ),
    ),
    Task(
        "drive_nail",
        frozenset({"hammer"}),
        (
            "something to drive a nail", "what can I pound a nail with?",
            "I need to knock nails into the wall", "a tool to drive nails into wood",
            "which tool strikes a nail?", "find something to hit this nail with",
            "the nail has to go into the wall", "hand me what pounds nails",
            "what do I use to nail these boards together?", "help me bang in a nail",
            "get a tool that can strike hard", "I want to nail a picture to the wall",
            "pick what a carpenter pounds with", "this loose nail must be hit again",
            "what would drive the nail into the board?", "something heavy for banging in nails",
        ),
        (
            "help me pound a nail into this board", "which tool can bang nails into wood?",
            "I want something to strike the nail with", "what does a carpenter drive nails with?",
            "find a tool that can hit a loose nail",
        ),
    ),
    Task(
        "cut",
        frozenset({"knife", "scissors"}),
        (
            "something to cut with", "I need to cut this rope", "what can slice through string?",
            "which things have a sharp blade?", "find something sharp", "help me cut the ribbon",
            "hand me a blade", "what could cut open this bag?", "I want to cut paper into strips",
            "a sharp tool to cut cloth", "get whatever can slice this cord",
            "the thread is too long, cut it", "pick the objects with sharp edges",
            "be careful, what could cut my finger?", "which tools are used for cutting?",
            "something that cuts a piece of string",
        ),
        (
            "which tool can slice this rope?", "I need something sharp for cutting paper",
            "hand me whatever could cut the cord", "help me cut a piece of ribbon",
            "find the tools with a blade",
        ),
    ),
    Task(
        "stir",
        frozenset({"spoon", "spatula"}),
        (
            "something to stir the soup", "what can I stir with?", "I need to mix the batter",
            "which utensil stirs a sauce?", "find something to mix the sauce with",
            "the soup should be stirred", "hand me a utensil for stirring", "help me stir the stew",
            "what could I use to mix flour and eggs?", "a utensil that can mix the dough",
            "get whatever stirs porridge", "I am stirring a pot of stew and need a utensil",
            "pick the utensils used for mixing", "the sugar must be stirred into my tea",
            "what do cooks stir a pot with?", "something for mixing the salad",
        ),
        (
            "which utensil can mix the stew?", "find something for stirring the sauce",
            "I need whatever stirs a pot of soup", "help me mix the eggs into the batter",
            "the porridge should be stirred, hand me a utensil",
        ),
    ),
    Task(
        "flip",
        frozenset({"spatula"}),
        (
            "something to flip an omelette", "what can I turn the burgers with?",
            "I need to flip the fish", "which utensil lifts a fried egg?",
            "find something to turn over the omelette", "the burger has to be flipped",
            "hand me what slides under a burger", "help me turn the fish over",
            "what do I flip crepes with?", "a flat utensil to lift crepes",
            "get whatever turns over a steak", "one side is done, flip the steak",
            "pick what slides under the fried eggs to lift them", "the crepes must be turned over",
            "what would lift the omelette without breaking it?", "something for flipping burgers",
        ),
        (
            "help me flip the fried egg", "find a flat utensil for flipping fish",
            "which utensil slides under the omelette?", "I need something to turn over the crepes",
            "the steak has to be turned over, what lifts it?",
        ),
    ),
    Task(
        "serve_food",
        frozenset({"plate", "bowl"}),
        (
            "something to serve dinner on", "what can I eat my meal from?",
            "I need dishes to set the table", "which dishes are for serving food?",
            "find something to put my lunch on", "the pasta is ready to be served",
            "hand me a dish for my meal", "help me set the table for dinner",
            "what do we eat lunch from?", "a dish that holds a serving of rice",
            "get something to serve the salad in", "I would like to serve fruit to the guests",
            "pick the dishes we eat from", "dinner is ready, what does the food go on?",
            "what would a waiter serve a meal on?", "something to put my breakfast in",
        ),
        (
            "find a dish to serve the pasta in", "which dishes do we set the table with for lunch?",
            "I need something to eat my dinner from", "the meal is ready, hand me a dish",
            "what does a waiter serve breakfast on?",
        ),
    ),
    Task(
        "catch_drips",
        frozenset({"bowl", "mug", "pan"}),
        (
            "something to catch water dripping from above", "the roof leaks, what catches it?",
            "I need an open container under the leak", "which containers would collect raindrops?",
            "find something hollow to collect drips", "the tap is leaking, put something below it",
            "hand me a container to catch the drips", "help me collect the water from a leak",
            "what could I put below a dripping pipe?", "a hollow container for a leaking pipe",
            "get whatever can collect leaking oil", "rain is coming through the roof, catch it",
            "pick the open containers that catch drops", "the ceiling drips onto the floor",
            "what would keep the dripping water off the floor?",
            "something open on top to collect the drops",
        ),
        (
            "find a container to catch the leaking water", "the pipe leaks, what goes below it?",
            "which open containers collect drips from the roof?",
            "I need something hollow under the dripping tap",
            "help me catch the raindrops from the ceiling",
        ),
    ),
    Task(
        "cook",
        frozenset({"pan"}),
        (
            "something to cook on the stove", "what can I fry an egg in?", "I need to fry onions",
            "which of these goes on a hot stove?", "find something to heat the soup in",
            "the bacon should be fried", "hand me what I can cook vegetables in",
            "help me fry some potatoes", "what do I heat oil in?", "a thing for frying bacon",
            "get cookware for the stove", "I want to cook an egg for breakfast",
            "pick the cookware", "the vegetables have to be fried in butter",
            "what would I melt butter in on the stove?", "something for frying mushrooms",
        ),
        (
            "find cookware to fry the potatoes in", "which of these can I cook bacon in?",
            "I want to fry mushrooms on the stove", "help me heat the vegetables on a hot stove",
            "what should the onions be fried in?",
        ),
    ),
    Task(
        "scrub",
        frozenset({"brush", "sponge"}),
        (
            "something to scrub the dirt off", "what can I scrub the sink with?",
            "I need to scour the bathtub", "which things scrub away grime?",
            "find something to scrub muddy boots", "the tiles are grimy and need scrubbing",
            "hand me something to scour the oven", "help me scrub the muddy floor",
            "what could I use to wash the dirty car?", "a thing for scouring burnt food off",
            "get whatever scrubs stains away", "I want to wash the dirty dishes",
            "pick everything that helps with scrubbing", "the bathtub has stubborn stains",
            "what would clean the grime off these tiles?", "something for washing muddy potatoes",
        ),
        (
            "find something for scrubbing the dirty sink", "which things scour the stains away?",
            "I need to wash the grime off my boots", "help me scrub the dirty oven",
            "what would scrub the dirt off the tiles?",
        ),
    ),
    Task(
        "soak_up",
        frozenset({"sponge"}),
        (
            "something to soak up a spill", "what can absorb this puddle?",
            "I spilled milk and it must be soaked up", "which of these absorbs liquid?",
            "find something soft that soaks up water", "the counter is wet, dry it",
            "hand me something to mop up the milk", "help me wipe the counter dry",
            "what would absorb spilled wine?", "an absorbent thing to wipe with",
            "get whatever mops up a puddle", "I want to wipe up the spilled coffee",
            "pick the most absorbent thing here", "there is a puddle of juice to mop up",
            "what soaks up liquid and can be squeezed?", "something to squeeze water out of",
        ),
        (
            "find something absorbent for the puddle", "which of these soaks up spilled milk?",
            "I want to mop up the wine", "help me absorb the liquid on the wet counter",
            "what can wipe up a spill of coffee?",
        ),
    ),
    Task(
        "read",
        frozenset({"book"}),
        (
            "something to read", "what can I read before bed?", "I would like to read a story",
            "which of these has pages?", "find a novel for the train", "the child wants a story",
            "hand me something with chapters", "help me learn about history",
            "what could I study for the exam?", "a thing with printed pages",
            "get me a good novel", "I am bored and feel like reading",
            "pick what a library lends", "the student wants to study a chapter",
            "what would an author write?", "something for reading aloud to the child",
        ),
        (
            "find a story I can read on the train", "which of these has chapters to study?",
            "I feel like reading a good novel", "hand me the thing with printed pages",
            "what could the child read before bed?",
        ),
    ),
    Task(
        "pack",
        frozenset({"box"}),
        (
            "something to pack my things in", "what can I ship a gift in?",
            "I am moving house and need to pack", "which of these stores old toys?",
            "find something to mail a parcel in", "the toys should be stored away",
            "hand me what I can pack shoes in", "help me pack for the move",
            "what could I store letters and photos in?", "packaging for a fragile gift",
            "get some packaging for the parcel", "I want to ship these shoes",
            "pick what the post office would deliver", "the photos must be packed and stored",
            "what would a mover pack clothes in?", "something for shipping and storing things",
        ),
        (
            "find packaging to ship the toys in", "which of these can I pack clothes in?",
            "I want to mail a fragile parcel", "help me store my old letters away",
            "what should the shoes be packed in for the move?",
        ),
    ),
    Task(
        "play",
        frozenset({"ball"}),
        (
            "something to play catch with", "what can the dog chase?", "I want a game outside",
            "which of these bounces?", "find something round to throw", "the kids play goalie",
            "hand me something that bounces", "help me play fetch with the dog",
            "what could we kick around in the park?", "a round toy that rolls",
            "get a toy to throw and catch", "I would like to kick it into the goal",
            "pick the bouncy toy", "the puppy wants a toy to chase",
            "what would you throw to a teammate?", "something that rolls and bounces",
        ),
        (
            "find a round toy for the puppy", "which of these can we kick into the goal?",
            "I want something bouncy to throw", "help the kids play catch in the park",
            "what toy could the dog fetch?",
        ),
    ),
    Task(
        "seal",
        frozenset({"tape"}),
        (
            "something sticky to seal an envelope", "what can I stick a poster up with?",
            "I need to seal a parcel", "which of these is sticky?",
            "find something adhesive for torn paper", "the envelope must be sealed",
            "hand me something adhesive", "help me stick two sheets together",
            "what would mend a torn page?", "an adhesive strip to close the flaps",
            "get whatever sticks paper together", "I want to fasten the gift wrap",
            "pick the sticky roll", "the poster was torn and should be mended",
            "what do I wrap around a broken cable?", "something to fasten a bow on gift wrap",
        ),
        (
            "find something sticky to mend the poster", "which of these seals an envelope?",
            "I need to stick the torn sheets together", "help me fasten the flaps of a parcel",
            "what adhesive strip could I wrap around the cable?",
        ),
    ),
    Task(
        "turn_screw",
        frozenset({"screwdriver"}),
        (
            "something to tighten a screw", "what can I loosen screws with?",
            "I need to take out this screw", "which tool turns a screw?",
            "find something to screw the hinge on", "the screw is loose and should be tightened",
            "hand me what turns screws", "help me screw the shelf to its bracket",
            "what do I use to assemble furniture with screws?", "a tool to remove a tiny screw",
            "get a tool for the battery cover screws", "I want to unscrew the door handle",
            "pick what an electrician unscrews a socket with", "these screws must come out",
            "what would tighten the screws of a hinge?", "something for unscrewing the lid",
        ),
        (
            "which tool can tighten loose screws?", "I need something to unscrew the bracket",
            "help me remove the screw of the door handle", "find a tool that turns a tiny screw",
            "what do I use to screw the shelf together?",
        ),
    ),
    Task(
        "light",
        frozenset({"candle"}),
        (
            "something to light the room", "the power is out, what gives light?",
            "I need light in the dark", "which of these glows?", "find something with a flame",
            "the lamp is broken and it is dark", "hand me something that burns and shines",
            "help me see during a blackout", "what could make the evening romantic?",
            "a small flame for the birthday", "get a light source for tonight",
            "I would like a warm glow for the evening", "pick what burns with a flame",
            "the bedroom is too dark to see", "what shines when there is no electricity?",
            "something that glows during a power cut",
        ),
        (
            "find a light source for the dark bedroom", "which of these burns and gives light?",
            "I would like a small flame tonight", "help me see when the power is out",
            "what glows in the evening during a blackout?",
        ),
    ),
)
# fmt: on
