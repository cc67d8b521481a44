"""How VQA answers are made comparable: punctuation, number words, articles, contractions.

Official: GT-Vision-Lab/VQA `vqaEval.py`; the EvalAI processor of TextVQA differs in what it does first.
"""

import re

MARKS = ';/[]"{}()=+\\_-><@`,?!'
COMMA_IN_NUMBER = re.compile(r"\d,\d")
FULL_STOP = re.compile(r"\.(?!\d)")
FULL_STOPS = 32  # the official call passes re.UNICODE, which is 32, where the number of replacements stands
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(NUMBER_WORDS)}
ARTICLES = {"a", "an", "the"}

# Written without any apostrophe by people; and the official table's half-written and odd entries.
UNMARKED = """
'twas ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll
how's isn't it'd it'll ma'am might've mightn't must've mustn't needn't not've o'clock oughtn't shan't should've
shouldn't somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're
there's they'd they'll they're they've wasn't we've weren't what'll what're what's what've when's where'd
where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're
you've
"""
HALF_MARKED = """
'ow'sat>'ow's'at 'ows'at>'ow's'at couldn'tve>couldn't've couldnt've>couldn't've hadn'tve>hadn't've
hadnt've>hadn't've he'dve>he'd've hed've>he'd've it'dve>it'd've itd've>it'd've mightn'tve>mightn't've
mightnt've>mightn't've ow's'at>'ow's'at she'dve>she'd've shed've>she'd've shouldn'tve>shouldn't've
shouldnt've>shouldn't've somebody'd>somebodyd somebody'dve>somebody'd've somebodyd've>somebody'd've
someone'dve>someone'd've someoned've>someone'd've something'dve>something'd've somethingd've>something'd've
there'dve>there'd've thered've>there'd've they'dve>they'd've theyd've>they'd've we'dve>we'd've wed've>we'd've
who'dve>who'd've whod've>who'd've wouldn'tve>wouldn't've wouldnt've>wouldn't've y'all'dve>y'all'd've
y'alld've>y'all'd've y'allll>y'all'll yall'd've>y'all'd've yall'll>y'all'll you'dve>you'd've youd've>you'd've
"""
CONTRACTIONS: dict[str, str] = {word.replace("'", ""): word for word in UNMARKED.split()}
CONTRACTIONS |= {said: meant for said, _, meant in (pair.partition(">") for pair in HALF_MARKED.split())}


def clean(text: str) -> str:
    """Line ends and tabs become spaces; none stand at either end."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def strip_marks(text: str) -> str:
    """A mark next to a space somewhere goes, one inside words becomes a space; a number with a comma makes all go."""
    out = text
    for mark in MARKS:
        loose = f"{mark} " in text or f" {mark}" in text or COMMA_IN_NUMBER.search(text)
        out = out.replace(mark, "" if loose else " ")
    return FULL_STOP.sub("", out, count=FULL_STOPS)


def settle_words(text: str) -> str:
    """Lower case, digits for number words, no articles, apostrophes where they belong."""
    words = (NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def normalise(text: str) -> str:
    """As VQAv2 does."""
    return settle_words(strip_marks(clean(text)))


def normalise_evalai(text: str) -> str:
    """As TextVQA does: lower case first, commas and question marks out, a possessive apart."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return settle_words(strip_marks(clean(text)))


def soft_accuracy(prediction: str, answers: list[str]) -> float:
    """Mean over people of min(1, others who said the same / 3)."""
    matches = [answer == prediction for answer in answers]
    total = sum(matches)
    return sum(min(1.0, (total - own) / 3) for own in matches) / len(answers) if answers else 0.0
