"""What numeracy prompts of T2I-CompBench count (`new_objects.txt` there, MIT licence), and the plurals."""

REGULAR = """
airplane apple backpack bag balloon banana bear bee bicycle bird boat book bottle bowl boy bread cake camel
camera candle car cat chair chicken clock computer cow cup desk dog drum duck egg flag frog giraffe girl guitar
hamburger helicopter helmet horse key kite lamp lemon microphone microwave paddle painting pear pen phone pig
pillow plate printer rabbit refrigerator ship sink sofa stool suitcase swan table television tent toy train
truck turtle vase
"""
PLURAL_OF = {name: f"{name}s" for name in REGULAR.split()} | {
    "butterfly": "butterflies",
    "couch": "couches",
    "deer": "deer",
    "fish": "fish",
    "goldfish": "goldfish",
    "knife": "knives",
    "man": "men",
    "mouse": "mice",
    "peach": "peaches",
    "person": "people",
    "sheep": "sheep",
    "shrimp": "shrimp",
    "strawberry": "strawberries",
    "tomato": "tomatoes",
    "woman": "women",
}
SINGULAR_OF = {plural: name for name, plural in PLURAL_OF.items()}
