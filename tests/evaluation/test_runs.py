"""Runs: what is stored, that a stopped run ends as an uninterrupted one, that a stored run scores the same."""

import json
import os
import signal
from pathlib import Path

import pytest

from diptych.errors import BenchmarkError
from diptych.evaluation.benchmark import Row
from diptych.evaluation.benchmarks import find
from diptych.evaluation.runs import rows as stored
from diptych.evaluation.runs.folder import Run, picture_name
from diptych.evaluation.runs.given import find_pictures, read_answers, take_in
from diptych.evaluation.runs.journal import appending, records
from diptych.evaluation.runs.making import make
from diptych.evaluation.runs.scoring import score, see, unanswered
from diptych.evaluation.runs.settings import seed_of, settings, weights_sha256
from tests.evaluation import published
from tests.evaluation.fake_model import FakeModel
from tests.evaluation.test_benchmark_files import CASES, write


class Detector:
    """A judge that finds a bench on every picture but the first of each row, and counts its work."""

    id, kind, official = "a detector", find("geneval").evidence, False

    def __init__(self) -> None:
        self.rows: list[str] = []

    def see(self, row, images, reply=""):
        assert all(path.is_file() for path in images)
        self.rows.append(row.id)
        return [published.seen(0.9 if number else 0.1) for number, _ in enumerate(images)]


def begin(out: Path, name: str, data: Path, model: FakeModel, seed: int = 0, **options) -> Run:
    benchmark = find(name)
    pinned = settings(model, "fake", benchmark, benchmark.wants, seed, benchmark.pictures, options)
    return Run.begin(out, pinned, benchmark.rows(data), data)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_answered_run_holds_all_its_number_depends_on(tmp_path):
    model, data = FakeModel(), published.pope(tmp_path / "data")
    run = begin(tmp_path / "run", "pope", data, model, seed=3, temperature=0.5)
    make(model, find("pope"), run, batch=4)
    found = Run.open(tmp_path / "run")
    assert len(found.rows) == len(found.answers()) == 18 and model.batches == [4, 4, 4, 4, 2]
    pinned = found.settings
    assert {name: pinned[name] for name in ("benchmark", "scorer", "model", "dtype", "device", "seed", "think")} == {
        "benchmark": "pope",
        "scorer": 1,
        "model": "fake",
        "dtype": "float32",
        "device": "cpu",
        "seed": 3,
        "think": False,
    }
    assert pinned["sampler"]["schedule"].startswith("euler(") and "steps=50" in pinned["sampler"]["schedule"]
    assert pinned["sampler"]["guide"] == "cfg(weight=3.0)" and pinned["options"] == {"temperature": 0.5}
    assert pinned["weights_sha256"] == weights_sha256(FakeModel().network)
    assert found.answers()["random-0"]["seed"] == seed_of(3, "random-0")


def test_other_weights_have_another_hash():
    model = FakeModel()
    model.network.bias.data[0] = 1.0
    assert weights_sha256(model.network) != weights_sha256(FakeModel().network)


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 8])
def test_neither_batch_nor_shares_matter(tmp_path, shards, batch):
    data = published.geneval(tmp_path / "data", prompts=5)
    whole = begin(tmp_path / "whole", "geneval", data, FakeModel())
    make(FakeModel(), find("geneval"), whole, batch=4)
    run = begin(tmp_path / "run", "geneval", data, FakeModel())
    for share in range(shards):
        make(FakeModel(), find("geneval"), run, batch, (share, shards))
    assert run.answers() == whole.answers() and unanswered(run) == 0
    assert {n: b for n, b in files(run.path).items() if "answers" not in n} == {
        n: b for n, b in files(whole.path).items() if "answers" not in n
    }
    assert len({tuple(answer["seeds"]) for answer in run.answers().values()}) == 5


def killed_at(number: int, work) -> bool:
    """Does work in a process of its own that is killed at its n-th flush to disk; whether it was."""
    child = os.fork()
    if child == 0:
        count, real = [0], os.fsync

        def fsync(descriptor: int) -> None:
            count[0] += 1
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)

        os.fsync = fsync
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_run_killed_at_every_point_ends_as_one_that_was_not(tmp_path):
    data = published.geneval(tmp_path / "data")
    benchmark, judge = find("geneval"), Detector()

    def work(out: Path) -> None:
        model = FakeModel()
        run = begin(out, "geneval", data, model)
        make(model, benchmark, run, batch=4)
        see(run, judge)
        score(run, benchmark)

    work(tmp_path / "whole")
    kills = 0
    while killed_at(kills + 1, lambda: work(tmp_path / "run")):
        kills += 1
    assert kills >= 12
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_half_a_line_and_half_a_picture_are_done_again(tmp_path):
    data = published.geneval(tmp_path / "data")
    whole = begin(tmp_path / "whole", "geneval", data, FakeModel())
    make(FakeModel(), find("geneval"), whole)
    run = begin(tmp_path / "run", "geneval", data, FakeModel())
    make(FakeModel(), find("geneval"), run)
    text = run.answers_file((0, 1)).read_bytes()
    run.answers_file((0, 1)).write_bytes(text[:-9])
    (run.path / "images" / ".00002-1.abc123.png").write_bytes(b"half")
    assert unanswered(run) == 1
    again = FakeModel()
    make(again, find("geneval"), run)
    assert again.batches == [4] and files(run.path) == files(whole.path)


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id": "a"}\n{"id": \n{"id": "c"}\n')
    with pytest.raises(BenchmarkError, match="line 2 is damaged"):
        records(path)


def test_two_processes_do_not_write_one_file(tmp_path):
    with appending(tmp_path / "a.jsonl") as journal:
        journal.add([{"id": "1"}])
        child = os.fork()
        if child == 0:
            try:
                with appending(tmp_path / "a.jsonl"):
                    os._exit(0)
            except BenchmarkError as error:
                os._exit(3 if "another process" in str(error) else 4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert records(tmp_path / "a.jsonl") == [{"id": "1"}]


def test_a_folder_holds_one_run_only(tmp_path):
    data = published.pope(tmp_path / "data")
    begin(tmp_path / "run", "pope", data, FakeModel())
    with pytest.raises(BenchmarkError, match="another run .seed was 0, is 1"):
        begin(tmp_path / "run", "pope", data, FakeModel(), seed=1)
    (data / "coco_pope_random.json").write_text(
        published.lines([{"question_id": i, "image": "0.png", "text": "Other?", "label": "no"} for i in range(6)])
    )
    with pytest.raises(BenchmarkError, match="other rows"):
        begin(tmp_path / "run", "pope", data, FakeModel())
    with pytest.raises(BenchmarkError, match="other things"):
        begin(data, "pope", data, FakeModel())
    with pytest.raises(BenchmarkError, match="no folder of a run"):
        Run.open(data)


def test_missing_pictures_of_the_benchmark_are_named(tmp_path):
    data = published.pope(tmp_path / "data")
    (data / "val2014" / "1.png").unlink()
    run = begin(tmp_path / "run", "pope", data, FakeModel())
    with pytest.raises(BenchmarkError, match=r"1 pictures .* missing: .*val2014/1\.png"):
        make(FakeModel(), find("pope"), run)


def test_a_stored_run_scores_the_same_and_is_judged_once(tmp_path):
    data, judge, benchmark = published.geneval(tmp_path / "data"), Detector(), find("geneval")
    run = begin(tmp_path / "run", "geneval", data, FakeModel())
    make(FakeModel(), benchmark, run)
    with pytest.raises(BenchmarkError, match="not judged to the end"):
        score(run, benchmark)
    see(run, judge)
    first = score(run, benchmark)
    assert first["table"]["correct_images_pct"] == 75 and first["value"] == 0.75 and first["right"] == 0
    assert first["judge"] == {"id": "a detector", "official": False}
    for path in data.iterdir():
        path.unlink()
    again = Run.open(tmp_path / "run")
    see(again, judge)
    assert score(again, benchmark) == first and len(judge.rows) == 3


def test_edits_show_the_source(tmp_path):
    data, model = published.gedit(tmp_path / "data"), FakeModel()
    run = begin(tmp_path / "run", "gedit", data, model)
    make(model, find("gedit"), run)
    assert [answer["images"] for answer in run.answers().values()] == [["images/a-0.png"], ["images/b-0.png"]]


@pytest.mark.parametrize("name", CASES)
def test_rows_come_back_from_disk_as_they_were(name, tmp_path):
    """Of every published form: stored rows score as fresh ones."""
    listed, said, figure, value = CASES[name]
    write(tmp_path, listed)
    benchmark = find(name)
    rows = benchmark.rows(tmp_path)
    (tmp_path / "rows.jsonl").write_text(stored.text_of(rows, tmp_path))
    back = stored.read(tmp_path, tmp_path)
    assert [(row.id, row.prompt, row.images) for row in back] == [(row.id, row.prompt, row.images) for row in rows]
    evidence = {row.id: reply for row, reply in zip(rows, said, strict=True)}
    through = json.loads(json.dumps(evidence))
    assert benchmark.score(back, through) == benchmark.score(rows, evidence)
    assert benchmark.score(back, through)[figure] == pytest.approx(value)


def test_answers_of_others(tmp_path):
    data, benchmark = published.pope(tmp_path / "data"), find("pope")
    rows = benchmark.rows(data)
    said = {row.id: row.facts["label"].title() for row in rows}
    (tmp_path / "said.jsonl").write_text(published.lines([{"id": n, "answer": a} for n, a in said.items()]))
    (tmp_path / "said.json").write_text(json.dumps(said))
    assert read_answers(tmp_path / "said.jsonl", rows) == read_answers(tmp_path / "said.json", rows) == said
    run = take_in(tmp_path / "run", benchmark, rows, data, said, "theirs")
    assert score(run, benchmark)["value"] == 1.0
    (tmp_path / "said.json").write_text(json.dumps(said | {"x": "Yes"}))
    with pytest.raises(BenchmarkError, match=r"1 answers to unknown rows \(x\)"):
        read_answers(tmp_path / "said.json", rows)
    (tmp_path / "said.json").write_text(json.dumps({"random-0": "Yes"}))
    with pytest.raises(BenchmarkError, match="17 of 18 rows have no answer"):
        read_answers(tmp_path / "said.json", rows)


def test_pictures_of_others_are_found_however_they_lie(tmp_path):
    rows = [Row("00000", "?"), Row("b/c", "?"), Row("d", "?"), Row("d-1", "?")]
    places = ("00000/samples/0000.png", "00000/samples/0001.png", "b%2Fc-10.png", "b%2Fc-9.png", "d.jpg", "d-1.png")
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    found = find_pictures(tmp_path, rows)
    assert {name: [str(path.relative_to(tmp_path)) for path in paths] for name, paths in found.items()} == {
        "00000": [*places[:2]],
        "b/c": ["b%2Fc-9.png", "b%2Fc-10.png"],
        "d": ["d.jpg"],
        "d-1": ["d-1.png"],
    }
    with pytest.raises(BenchmarkError, match=r"1 of 1 rows have no picture \(z\)"):
        find_pictures(tmp_path, [Row("z", "?")])


def test_names_of_pictures_are_safe_and_differ():
    assert picture_name("../a/b", 0) == "images/..%2Fa%2Fb-0.png"
    names = {picture_name(row, k) for row in ("a", "a-0", "A~1", "é") for k in range(2)}
    assert len(names) == 8
