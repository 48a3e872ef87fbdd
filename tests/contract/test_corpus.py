"""Scores in circulation give exactly the plans they always gave, and their prompts can be made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from ipc.score.check import check
from ipc.score.expand import expand, total_stages
from ipc.score.load import LoadedScore, load_score
from ipc.score.plan import plan
from ipc.score.schema import Score
from tests import ROOT

CORPUS = ROOT.parent / "shared" / "corpus"
SCORES = sorted(CORPUS.glob("*.yaml"))
#: Scores that earlier versions took although they cannot run, and the codes that say so.
BROKEN = {"quality-improvement-score-v1.yaml": {"V001", "V201"}}

pytestmark = pytest.mark.skipif(not SCORES, reason="../shared is not here")


def planned(score: Score) -> dict[str, Any]:
    sheets = expand(score)
    return {
        "name": score.name,
        "backend": score.backend.type,
        "total_sheets": len(sheets),
        "total_stages": total_stages(score.sheet),
        "dependencies": {str(sheet.n): list(sheet.dependencies) for sheet in sheets if sheet.dependencies},
        "parallel": score.parallel.enabled,
        "validations": len(score.validations),
        "notifications": len(score.notifications),
        "hooks": len(score.on_success),
    }


@pytest.fixture(scope="module")
def plans() -> dict[str, Any]:
    return dict(json.loads((CORPUS / "plans.json").read_text()))


@pytest.fixture(params=SCORES, ids=[path.stem for path in SCORES])
def loaded(request: pytest.FixtureRequest) -> LoadedScore:
    path: Path = request.param
    return load_score(str(path))


def test_every_plan_has_its_score(plans: dict[str, Any]) -> None:
    assert [path.name for path in SCORES] == sorted(plans)


def test_a_score_gives_its_plan(loaded: LoadedScore, plans: dict[str, Any]) -> None:
    assert planned(loaded.score) == plans[Path(loaded.path).name]


def test_a_score_gives_its_plan_in_the_coordinator_too(loaded: LoadedScore, plans: dict[str, Any]) -> None:
    again = Score.model_validate(orjson.loads(orjson.dumps(loaded.score.model_dump(mode="json"))))
    assert again == loaded.score
    assert planned(again) == plans[Path(loaded.path).name]


def test_its_prompts_can_be_made(loaded: LoadedScore) -> None:
    shown = plan(loaded, [], prompts=True)
    broken = Path(loaded.path).name in BROKEN
    assert all((sheet["prompt"] is None) is broken for sheet in shown["sheets"])


def test_only_this_machine_is_in_its_way(loaded: LoadedScore) -> None:
    """Paths of other people's machines may be missing here; nothing of the score itself is an error."""
    errors = {problem.code for problem in check(loaded) if problem.severity == "error"}
    assert errors - {"V005"} == BROKEN.get(Path(loaded.path).name, set())
