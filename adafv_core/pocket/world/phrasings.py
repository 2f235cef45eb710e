"""Question templates by family: phrasings for training, and held-out phrasings that training never sees.

Placeholders: {s} a shape, {p} its plural, {c} a color, {r} a reference such as "red ring", {a} the same with its
article, {d} a direction such as "left of".
"""

from __future__ import annotations

FAMILIES = ("attribute", "existence", "location", "reading", "counting", "relation", "salient")

TRAINED: dict[str, tuple[str, ...]] = {
    "color": (
        "what color is the {s}?",
        "which color does the {s} have?",
        "tell me the color of the {s}.",
        "the {s} is what color?",
        "what color does the {s} have?",
        "name the color of the {s}.",
    ),
    "shape": (
        "what shape is the {c} thing?",
        "what is the {c} thing?",
        "which shape is {c}?",
        "name the {c} shape.",
        "the {c} thing is what shape?",
        "what shape does the {c} thing have?",
    ),
    "size": (
        "is the {r} large or small?",
        "is the {r} small or large?",
        "what size is the {r}?",
        "the {r} is what size?",
    ),
    "existence": (
        "is there {a}?",
        "do you see {a}?",
        "can you see {a}?",
        "is there {a} in the picture?",
        "does the picture show {a}?",
        "do you find {a} in the picture?",
    ),
    "location": (
        "where is the {r}?",
        "in which part of the picture is the {r}?",
        "what is the location of the {r}?",
        "tell me where the {r} is.",
        "where do you see the {r}?",
        "find the {r}.",
    ),
    "reading": (
        "what number is on the {r}?",
        "what does the {r} say?",
        "read the {r}.",
        "which number is on the {r}?",
        "which digit does the {r} show?",
        "tell me what the {r} says.",
    ),
    "counting": (
        "how many {p} are there?",
        "how many {p} do you see?",
        "count the {p}.",
        "what is the number of {p}?",
        "how many {p} does the picture show?",
    ),
    "relation": (
        "what is {d} the {r}?",
        "what do you see {d} the {r}?",
        "which thing is {d} the {r}?",
        "name the thing {d} the {r}.",
        "{d} the {r} is what?",
    ),
    "salient": (
        "what is the main thing?",
        "what shape is the main thing?",
        "name the main thing.",
        "what is the biggest thing?",
        "which shape is the largest thing?",
        "what do you see?",
        "what does the picture show?",
    ),
    "salient color": (
        "what color is the main thing?",
        "which color is the biggest thing?",
        "what color does the largest thing have?",
        "name the color of the main thing.",
    ),
}

HELD_OUT: dict[str, tuple[str, ...]] = {
    "color": ("what is the color of the {s}?", "which color is the {s}?"),
    "shape": ("what is the shape of the {c} thing?", "tell me the shape of the {c} thing."),
    "size": ("which size is the {r}?", "tell me the size of the {r}."),
    "existence": ("can you find {a} in the picture?", "does the picture have {a}?"),
    "location": ("where can you see the {r}?", "name the location of the {r}."),
    "reading": ("what digit is on the {r}?", "tell me the number on the {r}."),
    "counting": ("how many {p} can you see?", "tell me the number of {p}."),
    "relation": ("what can you see {d} the {r}?", "tell me what is {d} the {r}."),
    "salient": ("tell me what the main thing is.", "what is the largest thing?"),
    "salient color": ("what is the color of the biggest thing?", "tell me the color of the largest thing."),
}

SYNONYMS: dict[str, tuple[str, ...]] = {
    "thing": ("thing", "object"),
    "picture": ("picture", "image", "scene"),
}
DIRECTION_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above",),
    "below": ("below", "under"),
}
EXTRA_WORDS = ("please", "an", "and", "i", "it", "this", "that", "big", "tiny", "picture", "photo", "me", "with", "its")
"""Words of ordinary questions that no phrasing uses: in the vocabulary, but never trained."""
