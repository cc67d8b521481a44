"""Judges: who fits what, what is asked of them, and what is read from their words."""

import json
from pathlib import Path

import pytest
from PIL import Image

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Row
from diptych.evaluation.benchmarks import find as benchmark
from diptych.evaluation.benchmarks import names
from diptych.evaluation.judges import asking, find, fitting, prompts
from diptych.evaluation.judges.grading import read_genexam, read_verified, read_wise
from diptych.evaluation.judges.kris import read_both, read_score


class Scripted:
    """An answerer that notes what it is asked and says what it is told to."""

    def __init__(self, *replies: str, name: str = "scripted", terse: bool = False):
        self.id, self.terse, self.replies, self.asked = name, terse, list(replies), []

    def answer(self, parts, system, settings, attempt):
        self.asked.append((tuple(parts), system, dict(settings), attempt))
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def judged(name, answerer, row, images, reply="", data=None):
    return asking.make("test", benchmark(name), data, answerer).see(row, images, reply)


@pytest.fixture
def picture(tmp_path):
    def paint(name="made.png", color="red", size=(32, 24)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, color).save(path)
        return path

    return paint


def test_recorded_evidence_by_object_and_by_lines(tmp_path, picture):
    dsg = benchmark("dsg")
    (tmp_path / "seen.json").write_text(json.dumps({"a": {"1": "yes"}}))
    lines = [{"id": "a", "evidence": {"1": "no"}, "judge": "mplug-large"}]
    (tmp_path / "seen.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert find(f"replay:{tmp_path}/seen.json", dsg).see(Row("a", ""), []) == {"1": "yes"}
    judge = find(f"replay:{tmp_path}/seen.jsonl", dsg)
    assert judge.see(Row("a", ""), []) == {"1": "no"}
    assert (judge.kind, judge.id, judge.official) == (dsg.evidence, "replay:seen.jsonl, seen by mplug-large", False)
    with pytest.raises(BenchmarkError, match="no evidence on row 'b'"):
        judge.see(Row("b", ""), [])


def test_a_judge_that_does_not_fit_is_told_who_does():
    with pytest.raises(BenchmarkError, match="cannot give what geneval takes .*local:mask2former"):
        find("openai:http://localhost/v1#gpt-4o", benchmark("geneval"))
    with pytest.raises(BenchmarkError, match="cannot give what dsg takes"):
        find("local:clip", benchmark("dsg"))
    for wrong in ("oracle:x", "replay:", "local", ""):
        with pytest.raises(BenchmarkError, match="unknown judge"):
            find(wrong, benchmark("dsg"))
    with pytest.raises(BenchmarkError, match="openai:URL#MODEL"):
        find("openai:http://localhost/v1", benchmark("dsg"))
    with pytest.raises(BenchmarkError, match="OPENAI_API_KEY"):
        find("openai:http://me:key@localhost/v1#m", benchmark("dsg"))


def test_every_benchmark_can_be_judged_from_a_file_and_every_examination_is_one_of_a_benchmark():
    assert all(fitting(benchmark(name))[0] == "replay:FILE" for name in names())
    assert set(asking.HOMES) <= set(names())
    assert all(callable(asking.examination(benchmark(name)).see) for name in asking.HOMES)


def test_a_stand_in_says_so():
    official = asking.make("openai", benchmark("genexam"), None, Scripted("", name="gpt-5-2025-08-07"))
    other = asking.make("openai", benchmark("genexam"), None, Scripted("", name="small"))
    assert (official.official, official.id) == (True, "openai:gpt-5-2025-08-07")
    assert (other.official, other.id) == (False, "openai:small (stands in for gpt-5-2025-08-07)")


def test_questions_are_bare_for_terse_models_and_say_how_to_answer_to_others(picture):
    item = {"questions": {"1": "Is there a dog?", "2": "Is it red?"}, "parents": {"1": [0], "2": [1]}, "tuples": {}}
    row = Row("x", "a red dog", (), {"item": item})
    chat, vqa = Scripted("Yes, there is.", "No."), Scripted("yes", terse=True)
    assert judged("dsg", chat, row, [picture()]) == {"1": "yes", "2": "no"}
    assert chat.asked[0][0][1] == "Is there a dog? Please answer yes or no."
    judged("dsg", vqa, row, [picture()])
    assert vqa.asked[0][0][1] == "Is there a dog?"
    with pytest.raises(BenchmarkError, match="has 2 pictures"):
        judged("dsg", chat, row, [picture(), picture()])


def test_one_picture_of_dpg_is_a_grid_and_four_are_its_crops(tmp_path, picture):
    grid = Image.new("RGB", (4, 2))
    for place, color in enumerate(("red", "lime", "blue", "white")):
        grid.paste(color, (2 * (place % 2), place // 2, 2 * (place % 2) + 2, place // 2 + 1))
    grid.save(tmp_path / "grid.png")
    row = Row("x", "", (), {"item": {"questions": {"1": "Is it?"}}})
    asker = Scripted("yes")
    assert judged("dpgbench", asker, row, [tmp_path / "grid.png"]) == [{"Is it?": "yes"}] * 4
    seen = [parts[0].getpixel((0, 0)) for parts, *_ in asker.asked]
    assert seen == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    assert len(judged("dpgbench", asker, row, [picture()] * 3)) == 3
    assert judged("dpgbench", asker, Row("y", "", (), {"item": None}), [picture()] * 4) == [{}] * 4


def test_choices_letters_and_grids(picture):
    question = {"question": "What color?", "choices": ["red", "light blue"], "answer": "red"}
    tifa = Row("t", "", (), {"questions": [question, question]})
    assert judged("tifa", Scripted("Light blue.", "reddish"), tifa, [picture()]) == ["light blue", "red"]
    oneig = Row("o", "", (), {"questions": {"1": "Is it"}, "parents": {"1": [0]}})
    asker = Scripted(" Yes\n", "No")
    assert judged("oneig", asker, oneig, [picture(), picture()]) == {"1": ["Yes", "No"]}
    assert asker.asked[0][0][1] == "Is it. Please answer 'Yes' or 'No' only."
    unieval = Row("u", "", (), {"QAs": [{"QA_id": 7, "question": "Q (A) a, (B) b"}]})
    assert judged("unieval", Scripted("(B)"), unieval, [picture()] * 2) == {"7": ["(B)", "(B)"]}


WISE_FILE = '''
import openai
raise SystemExit("never run")
def build_evaluation_messages(prompt_data, image):
    return [{"role": "system", "content": [{"type": "text", "text": "Be an auditor."}]},
            {"role": "user", "content": [{"type": "text", "text": f"""Judge {{x}}.
PROMPT: "{prompt_data['Prompt']}"
EXPLANATION: "{prompt_data['Explanation']}" """}]}]
'''


def test_wise_reads_its_prompt_from_the_official_file_without_running_it(tmp_path, picture):
    (tmp_path / "gpt_eval.py").write_text(WISE_FILE)
    asker = Scripted("no idea", "**Consistency**: 2\nRealism: 1\nAesthetic Quality: 0")
    row = Row("1", "A moon cake", (), {"Prompt": "A moon cake", "Explanation": "round {y}"})
    scores = judged("wise", asker, row, [picture()], data=tmp_path)
    assert scores == {"consistency": 2, "realism": 1, "aesthetic_quality": 0}
    (text, image), system, settings, attempt = asker.asked[1]
    assert system == "Be an auditor." and settings == {"temperature": 0.0, "max_tokens": 2000} and attempt == 1
    assert text == 'Judge {x}.\nPROMPT: "A moon cake"\nEXPLANATION: "round {y}" ' and isinstance(image, Path)
    assert benchmark("wise").judge(row, scores) == pytest.approx(0.8)
    with pytest.raises(BenchmarkError, match="asked 3 times"):
        judged("wise", Scripted("no"), row, [picture()], data=tmp_path)
    with pytest.raises(BenchmarkError, match="put gpt_eval.py from github.com/PKU-YuanGroup/WISE"):
        judged("wise", Scripted("no"), row, [picture()], data=tmp_path / "elsewhere")
    with pytest.raises(BenchmarkError, match="may not be shipped"):
        judged("wise", Scripted("no"), row, [picture()])


def test_edits_are_sent_with_their_source(tmp_path, picture):
    (tmp_path / "prompts.json").write_text(json.dumps({"add": "Rate: <edit_prompt>"}))
    row = Row("1", "Add a hat.", (picture("source.png", "blue", (10, 10)),), {"edit_type": "add"})
    asker = Scripted("Compliance: 4\nNaturalness: 5")
    assert judged("imgedit", asker, row, [picture()], data=tmp_path) == asker.replies[0]
    assert asker.asked[0][0] == ("Rate: Add a hat.", row.images[0], picture())
    gedit = Scripted('{"score": [7, 9], "reasoning": ""}', '{"score": [8, 6]}')
    replies = judged("gedit", gedit, row, [picture()])
    assert benchmark("gedit").judge(row, replies)[:2] == (7, 6)
    consistency, quality = (parts for parts, *_ in gedit.asked)
    assert "Editing instruction: Add a hat." in consistency[0] and len(consistency) == 3 and len(quality) == 2
    assert asking.opened(consistency[2]).size == (10, 10), "the edit goes in the source's size"


def test_genexam_sends_points_and_the_right_picture(picture):
    row = Row("g", "Draw it {so}.", (), {"questions": ["Is it?", "Or?"], "truth": str(picture("truth.png"))})
    said = {"answers": [{"answer": 1}, {"answer": 0}], "global_evaluation": {}}
    titles = ("Spelling", "Clarity and Readability", "Logical Consistency")
    said["global_evaluation"] = {title: {"score": number} for number, title in enumerate(titles)}
    asker = Scripted(f"```json\n{json.dumps(said)}\n```")
    found = judged("genexam", asker, row, [picture()])
    assert found == {"answers": [1, 0], "ratings": {"spelling": 0, "readability": 1, "logical_consistency": 2}}
    text, *pictures = asker.asked[0][0]
    assert "Draw it {so}." in text and "['Is it?', 'Or?']" in text and '{\n    "description"' in text
    assert len(pictures) == 2 and asker.asked[0][2] == {"max_tokens": 16384}, "no options of the official model"
    official = Scripted(asker.replies[0], name="gpt-5-2025-08-07")
    judged("genexam", official, row, [picture()])
    assert official.asked[0][2]["reasoning_effort"] == "low"
    assert read_genexam(json.dumps(said), 3) is None


def test_words_are_graded_and_answers_extracted(tmp_path):
    row = Row("v", "What is x?", (), {"answer": "-1<AND>-5"})
    grader = Scripted("0.5")
    assert judged("mmvet", grader, row, [], reply="x = -1") == [0.5]
    assert grader.asked[0][0][0].endswith("\nWhat is x? | -1 <AND> -5 | x = -1 | ")
    (tmp_path / "ext_ans.py").write_text('demo_prompt = """\nExamples\n"""')
    facts = {"question_type": "free_form", "answer_type": "integer", "choices": None}
    problem, extractor = Row("m", "Hint: ...", (), facts), Scripted("14")
    assert judged("mathvista", extractor, problem, [], reply="14", data=tmp_path) == "14" and not extractor.asked
    assert judged("mathvista", extractor, problem, [], reply="It is 14.", data=tmp_path) == "14"
    assert extractor.asked[0][0][0] == "Examples\n\nHint: ...\n\nIt is 14.\n\nExtracted answer: "


RISE_TEXTS = [
    *("consist", "reasoning", "reasoning_w_input", "generation", "spatial_ref", "spatial_ref_img", "spatial_cons"),
    *("spatial_ref_w_input", "spatial_qual", "logical_cons_ans", "logical_cons", "logical_txt", "logical_img"),
]
RISE_CASES = [
    ({"category": "temporal_reasoning"}, {"prompt_consist": 2, "prompt_reasoning": 1, "prompt_generation": 1}),
    (
        {"category": "causal_reasoning", "reasoning_img": "yes", "free": True},
        {"prompt_reasoning_w_input": 2, "prompt_generation": 1},
    ),
    (
        {"category": "spatial_reasoning", "reference_img": "drawn.png"},
        {"prompt_spatial_cons": 2, "prompt_spatial_ref_img": 2, "prompt_spatial_qual": 1},
    ),
    (
        {"category": "spatial_reasoning"},
        {"prompt_spatial_cons": 2, "prompt_spatial_ref": 1, "prompt_spatial_qual": 1},
    ),
    ({"category": "logical_reasoning", "reference_txt": "7"}, {"prompt_logical_cons_ans": 2, "prompt_logical_txt": 1}),
    (
        {"category": "logical_reasoning", "reference_img": "drawn.png"},
        {"prompt_logical_cons": 2, "prompt_logical_img": 2},
    ),
]


@pytest.mark.parametrize(("facts", "asked"), RISE_CASES)
def test_rise_asks_what_the_row_needs(tmp_path, picture, facts, asked):
    lines = [f'prompt_{name} = "prompt_{name} {{instruct}}"' for name in RISE_TEXTS]
    (tmp_path / "utils.py").write_text("\n".join(lines))
    for name in ("a.png", "drawn.png"):
        picture(name)
    whole = {"image": "a.png", "reference": "old", "folder": str(tmp_path)} | facts
    whole["consistency_free"] = whole.pop("free", False)
    row, logic = Row("r", "Later?", (tmp_path / "a.png",), whole), facts["category"] == "logical_reasoning"
    asker = Scripted("Final Score: 1" if logic else "**Final Score:** **4**")
    scores = judged("rise", asker, row, [picture()], data=tmp_path)
    assert {parts[0].split()[0]: len(parts) - 1 for parts, *_ in asker.asked} == asked
    assert benchmark("rise").judge(row, scores)["score"] == (5 if logic else pytest.approx(4))


def kris_row(picture, task, *sources, **facts):
    return Row("k", "Change it.", sources or (picture("source.png"),), {"task": task, "explanation": "why"} | facts)


def test_kris_asks_for_knowledge_where_it_counts(picture):
    asker = Scripted('{"consistency_score": 4}', '{"instruction_score": 5, "knowledge_score": 2}', '"quality_score": 3')
    scores = judged("kris", asker, kris_row(picture, "physics"), [picture()])
    assert scores == {"consistency_score": 4, "instruction_score": 5, "knowledge_score": 2, "quality_score": 3}
    assert [len(parts) for parts, *_ in asker.asked] == [5, 5, 3] and "why" in asker.asked[1][0][0]
    asker = Scripted("4 out of 5")
    assert judged("kris", asker, kris_row(picture, "color_change"), [picture()])["instruction_score"] == 4
    assert asker.asked[2][0][1] == "This is the original image:", "as the official code says of the edit"


def test_kris_shows_frames_in_order_and_views_with_the_truth(picture):
    frames = [picture(f"5-{number}.png") for number in (1, 2, 4)]
    asker = Scripted("3")
    judged("kris", asker, kris_row(picture, "temporal_prediction", *frames), [picture()])
    labels = [part for part in asker.asked[0][0][1:] if isinstance(part, str)]
    kinds = ("Reference", "Reference", "Generated", "Reference")
    assert labels == [f"Frame {number} ({kind}):" for number, kind in enumerate(kinds, 1)]
    view, row = Scripted("3"), kris_row(picture, "viewpoint_change", truth=str(picture("truth.png")))
    judged("kris", view, row, [picture()])
    assert view.asked[1][0][-2:] == ("This is the ground truth image:", picture("truth.png"))


def test_what_is_read_from_words():
    assert read_wise("2\n1\n0") == {"consistency": 2, "realism": 1, "aesthetic_quality": 0}
    assert read_wise("Consistency: 2") is None
    assert read_verified("<think>Score: 0</think>\nScore: 1") == 1
    assert (read_verified("1"), read_verified("1\n0"), read_verified("maybe")) == (1, None, None)
    assert read_score('{"reasoning": "5/5", "quality_score": 2}', "quality_score") == 2
    assert (read_score("I give it 3/5", "quality_score"), read_score("none", "quality_score")) == (3, None)
    assert read_both('instruction_score: 2, "knowledge_score": 1') == {"instruction_score": 2, "knowledge_score": 1}
    assert read_both('{"instruction_score": 2}') is None


def test_templates_take_plain_names_only():
    assert prompts.fill("{{a}} {b}", b="{c}") == "{a} {c}"
    assert prompts.fill("{b.__class__} {b[0]}", b="x") == "{b.__class__} {b[0]}"
    with pytest.raises(BenchmarkError, match="asks for {z}"):
        prompts.fill("{z}")


def test_shipped_texts_say_where_they_are_from():
    for path in prompts.SHIPPED.glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert record["source"] and record["licence"].split(",")[0] in ("MIT", "Apache-2.0") and all(record["texts"])
