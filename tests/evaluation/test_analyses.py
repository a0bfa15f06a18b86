"""Further analyses of trained runs, and the tutorial, which looks at two of them."""

import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import pandas as pd
import pytest

from mecheval_jax import runs
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation import analyses
from mecheval_jax.evaluation.config import (
    AnalysesConfig,
    CircuitsConfig,
    ProbesConfig,
    SubspacesConfig,
)
from mecheval_jax.evaluation.representations import probes
from mecheval_jax.evaluation.subject import Subject, documents_of
from mecheval_jax.interventions.capture import observe
from mecheval_jax.models.language_model import LanguageModel, initialize
from mecheval_jax.reporting.figures import analyses as figures
from mecheval_jax.reporting.html import comparison, report
from mecheval_jax.reporting.terminal import tables
from tests.support import forked, planted, planted_memory, small
from tests.support.compilation import ROOT

FEW = ("probes.documents=128", "subspaces.documents=128")
SHORT = {"evaluation.roles": ("key", "value", "query"), "evaluation.corruptions": ("key",)}

MADE = [name for name in analyses.ANALYSES if name not in ("editing", "overwriting")]
"""Analyses of documents of two pairs, none of which is overwritten."""


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory):
    """Two runs in the folders that the quickstart gives them."""
    folder = tmp_path_factory.mktemp("quickstart")
    for mixer in ("based", "gated_delta_net"):
        changes = SHORT | {"model.mixer": mixer, "model.feed_forward": "none"}
        runs.train(small.experiment(changes), folder / mixer)
    return folder


@pytest.fixture(scope="module")
def found(workdirs):
    with pytest.MonkeyPatch.context() as patched:
        # All probes regress onto codes, which is less to compile: test_probes.py has both kinds.
        patched.setattr(probes, "MOST_CLASSES", 0)
        return runs.analyze(workdirs / "based", settings=FEW)


def test_every_analysis_is_a_table_and_a_figure(workdirs, found, capsys):
    """Catches an analysis that writes nothing, or what it does not return."""
    folder = workdirs / "based"
    assert set(found) == {
        *("gradients", "gradients_agreement", "edges", "circuits", "circuit_metrics"),
        *("probes", "subspaces", "attention", "lens"),
        *("capacity", "generalization", "components"),
    }
    for name, table in found.items():
        written = pd.read_csv(folder / "analyses" / f"{name}.csv")
        assert list(written.columns) == list(table.columns)
        assert len(written) == len(table) > 0
        assert (written["run"] == "based").all()
        assert (written["step"] == 20).all()
        assert written["metric"].notna().all()
    for name in MADE:
        assert (folder / "figures" / f"{name}.svg").exists()
        assert (folder / "figures" / f"{name}.png").exists()
    tables.show_analyses(found)
    printed = capsys.readouterr().out
    for name, table in found.items():
        assert f"{name}: {len(table):,} values" in printed


def test_random_circuits_are_run_once(found):
    """Catches the same random circuits measured and written for each ranking of the edges."""
    circuits, areas = found["circuits"], found["circuit_metrics"]
    assert set(circuits["circuit"]) == {"eap", "eap_ig", "random"}
    assert not circuits.duplicated(["circuit", "corruption", "edges"]).any()
    # Uniqueness has random circuits of every ranking, which the method tells apart.
    key = ["circuit", "method", "corruption", "points", "edges", "metric"]
    assert not areas.duplicated(key).any()
    areas = areas[areas["metric"] != "uniqueness"]
    assert not areas.duplicated(["circuit", "corruption", "points", "metric"]).any()


def test_the_report_shows_what_was_made(workdirs, found):
    """Catches a figure that is lost between the program and the report."""
    del found
    page = report.write([str(workdirs / "based")], str(workdirs / "page")).read_text()
    for name in MADE:
        assert f"<summary>{name.capitalize()}</summary>" in page
    untouched = report.write(
        [str(workdirs / "gated_delta_net")], str(workdirs / "page")
    ).read_text()
    assert "Further analyses" not in untouched


def test_attention_of_several_runs_on_one_document(workdirs, tmp_path):
    """Catches a transposed matrix, and runs beside each other that read different documents."""
    names = ["<bos>", "nan", "v2"]
    folders = [tmp_path / name for name in ("one", "two", "three")]

    def write(folder, tokens, scale):
        shutil.copytree(workdirs / "gated_delta_net", folder, dirs_exist_ok=True)
        (folder / "analyses").mkdir(exist_ok=True)
        rows = [
            {
                "matrix": "layer 0",
                "destination": i,
                "source": j,
                "destination_token": tokens[i],
                "source_token": tokens[j],
                "value": scale * (3 * i + j),
            }
            for i in range(3)
            for j in range(i + 1)
        ]
        pd.DataFrame(rows).to_csv(folder / "analyses" / "attention.csv", index=False)

    write(folders[0], names, 0.1)
    write(folders[1], names, 0.2)
    write(folders[2], ["<bos>", "k1", "v2"], 0.3)
    table = pd.read_csv(folders[1] / "analyses" / "attention.csv", keep_default_na=False)
    matrices, tokens = figures.matrices_of(table)
    assert tokens == names
    np.testing.assert_allclose(matrices["layer 0"], np.tril(0.2 * np.arange(9).reshape(3, 3)))
    drawn = {}

    draw = figures.attention_images

    def images(matrices, tokens):
        drawn.update(matrices=matrices, tokens=tokens)
        return draw(matrices, tokens)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(comparison.analyses, "attention_images", images)
        page = report.write([str(folder) for folder in folders], str(tmp_path / "page"))
    assert list(drawn["matrices"]) == ["one, layer 0", "two, layer 0"]
    assert drawn["tokens"] == names
    assert "in the same document" in page.read_text()
    assert (tmp_path / "page" / "figures" / "comparison_attention.svg").exists()
    alone = report.write([str(folder) for folder in folders[1:]], str(tmp_path / "other"))
    assert "in the same document" not in alone.read_text()


def test_options_of_analyses(workdirs, monkeypatch):
    """Catches a setting that is passed over, one of the wrong type, and a misspelt one."""

    def asked(subject, config, sites):
        raise UserError(f"{len(subject.batch.tokens)} documents, {config}, {sites}")

    monkeypatch.setattr(analyses, "probe_rows", asked)

    def analyze(*settings):
        return runs.analyze(workdirs / "based", ["probes"], settings=settings)

    with pytest.raises(UserError, match=r"^24 documents, .*targets=\('key', 'pair'\), .*ridge=0.5"):
        analyze("probes.documents=24", "probes.targets=key,pair", "probes.ridge=0.5")
    with pytest.raises(UserError, match=r"'riddge' \(did you mean 'ridge'\?\)"):
        analyze("probes.riddge=1")
    with pytest.raises(UserError, match=r"'probe' \(did you mean 'probes'\?\)"):
        analyze("probe.ridge=1")
    with pytest.raises(UserError, match=r"probes.documents is 'many': it takes a whole number"):
        analyze("probes.documents=many")
    with pytest.raises(UserError, match=r"'probes.documents' is no setting"):
        analyze("probes.documents")
    with pytest.raises(UserError, match=r"analyses.probes.test_share is 2.0"):
        analyze("probes.test_share=2")


def test_mistakes(workdirs, tmp_path):
    """Catches a misspelt analysis that is passed over, and a traceback."""
    with pytest.raises(UserError, match=r"'probe'.*'probes'"):
        runs.analyze(workdirs / "based", ["probe"])
    with pytest.raises(UserError, match="holds no run"):
        runs.analyze(tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gradients", {"corruptions": ("valu",)}, "did you mean 'value'"),
        ("circuits", {"roles": ("valu",)}, "did you mean 'value'"),
        ("probes", {"settings": ["probes.targets=kee"]}, "'kee'"),
        ("subspaces", {"roles": ("next_key",)}, "has none of them"),
        ("capacity", {"settings": ["capacity.pairs=1000000"]}, "1,?000,?000"),
        ("generalization", {"settings": ["generalization.settings=pears=3"]}, "'pears'"),
        ("overwriting", {}, "no role 'old_value'"),
    ],
)
def test_what_is_not_possible_is_refused_before_anything_is_measured(
    name, changes, message, workdirs, monkeypatch
):
    """Catches a mistake in the last analysis that is found when all others are done."""
    measured = []
    monkeypatch.setitem(analyses.ANALYSES, "lens", lambda *_: measured.append("lens") or {})
    with pytest.raises(UserError, match=message):
        runs.analyze(workdirs / "based", ["lens", name], **changes)
    assert not measured


def test_mixers_without_matrices_or_states_are_refused_first():
    """Catches an analysis of the mixer that is refused when others are done."""
    options = AnalysesConfig()

    def subject_of(mixer):
        return planted.lively_subject(mixer, planted.EVALUATION)

    attention, lstm = subject_of("attention"), subject_of("lstm")
    with pytest.raises(UserError, match="has no effective attention"):
        analyses.CHECKS["attention"](lstm, options)
    analyses.CHECKS["attention"](attention, options)
    with pytest.raises(UserError, match="no site write"):
        analyses.CHECKS["editing"](attention, options)
    with pytest.raises(UserError, match="documents cannot ask for 4 pairs"):  # some have two
        analyses.CHECKS["editing"](subject_of("delta_net"), options)
    analyses.CHECKS["editing"](planted_memory.lively("delta_net"), options)


@pytest.mark.parametrize(
    ("name", "mixer", "options", "evaluation", "message"),
    [
        ("circuits", "rwkv7", {}, {}, "has no graph of edges"),
        ("circuits", "gla", {"circuits": CircuitsConfig(ports=("foo",))}, {}, "port 'foo'"),
        ("editing", "h3", {}, {}, "h3 has no site state with values beside it"),
        ("subspaces", "gla", {"subspaces": SubspacesConfig(dimensions=65)}, {}, "dimensions is 65"),
        ("subspaces", "gla", {"subspaces": SubspacesConfig(test_share=1e-6)}, {}, "hold out"),
        ("probes", "gla", {"probes": ProbesConfig(test_share=1e-6)}, {}, "some to hold out"),
        ("components", "gla", {}, {"documents": 1}, "evaluation.documents is 1, at least 2"),
    ],
)
def test_what_the_config_tells_is_refused_first(name, mixer, options, evaluation, message):
    """Catches what model and options alone forbid, found when other analyses were measured."""
    settings = dataclasses.replace(planted.EVALUATION, **evaluation)
    subject = planted.lively_subject(mixer, settings)
    with pytest.raises(UserError, match=f"the analysis {name} is not possible: .*{message}"):
        analyses.check([name], subject, AnalysesConfig(**options))
    possible = planted.lively_subject("gla", planted.EVALUATION)
    analyses.check(["circuits", "components", "probes", "subspaces"], possible, AnalysesConfig())


def test_no_document_is_fitted_and_held_out(tmp_path):
    """Catches a split that is drawn again and again until there are documents enough."""
    lines = (ROOT / "docs/examples/orders.jsonl").read_text().splitlines()[:200]
    texts = {json.loads(line)["text"]: line for line in lines}
    (tmp_path / "orders.jsonl").write_text("\n".join(texts.values()))
    changes = SHORT | {
        "task": {"name": "documents", "path": str(tmp_path / "orders.jsonl"), "test": 0.2},
        "model.max_length": 64,
    }
    experiment = small.experiment(changes)
    batch = Subject.of(experiment, {}).more_documents(2048)
    assert len(batch.tokens) == experiment.task.sizes()["test"] < 2048
    assert len(np.unique(batch.tokens, axis=0)) == len(batch.tokens)


def test_gradients_and_probes_look_where_they_are_told(workdirs, monkeypatch):
    """Catches a flag that is passed over, an alias or 'all' that is no site, and no site at all."""

    def asked(*arguments):
        raise UserError(f"asked for {arguments[-1]}")

    monkeypatch.setattr(analyses, "grid", asked)
    monkeypatch.setattr(analyses, "probe_rows", asked)
    for name in ("gradients", "probes"):
        with pytest.raises(UserError, match=r"asked for \('block_1/mixer/q',\)"):
            runs.analyze(workdirs / "based", [name], ["blocks.1.mixer.hook_q"])
        with pytest.raises(UserError, match=r"asked for .*block_0/mixer/.*block_1/mixer/q"):
            runs.analyze(workdirs / "based", [name], ["all"])
    with pytest.raises(UserError, match="unknown site 'block_9/mixer/q'"):
        runs.analyze(workdirs / "based", ["probes"], ["block_9/mixer/q"])
    with pytest.raises(UserError, match="no analysis is named: valid are gradients"):
        runs.analyze(workdirs / "based", [])
    with pytest.raises(UserError, match="no site"):
        runs.analyze(workdirs / "based", ["probes"], [])


def test_what_cannot_be_is_passed_over_unless_it_was_asked_for(tmp_path, capsys, monkeypatch):
    """Catches an architecture without one analysis that loses the others."""
    two = {name: analyses.ANALYSES[name] for name in ("attention", "lens")}
    monkeypatch.setattr(analyses, "ANALYSES", two)
    changes = SHORT | small.ONE_LAYER | {"model.mixer": "lstm"}
    runs.train(small.experiment(changes), tmp_path / "run")
    assert set(runs.analyze(tmp_path / "run")) == {"lens"}
    assert "no attention: " in capsys.readouterr().err
    with pytest.raises(UserError, match="LSTM"):
        runs.analyze(tmp_path / "run", ["attention"])


def test_the_subspaces_of_a_single_layer(monkeypatch):
    """Catches a site of the last layer that is computed at the query alone."""
    asked = []
    monkeypatch.setattr(
        analyses, "subspace_rows", lambda *arguments: asked.extend(arguments[2]) or []
    )
    experiment = small.experiment(SHORT | small.ONE_LAYER)
    batch = documents_of(experiment)
    analyses.ANALYSES["subspaces"](Subject.of(experiment, {}, batch), AnalysesConfig(), None)
    (site,) = asked
    config, key, query = experiment.model, jax.random.key(0), batch.query_positions[:, :1]
    seen = jax.eval_shape(
        lambda params: observe(
            LanguageModel(config), params, batch.tokens, positions=query, skip_unread=True
        )[1],
        jax.eval_shape(lambda: initialize(config, key)),
    )
    assert seen[site].shape[1] == batch.tokens.shape[1]


def test_subspaces_of_no_role_that_is_asked():
    """Catches a message that says that roles are empty, which are not."""
    experiment = small.experiment(SHORT | small.ONE_LAYER | {"evaluation.roles": ("next_key",)})
    subject = Subject.of(experiment, {}, documents_of(experiment))
    with pytest.raises(UserError, match=r"at key, value, query: evaluation\.roles, next_key"):
        analyses.ANALYSES["subspaces"](subject, AnalysesConfig(), None)


def test_the_tutorial_runs(workdirs):
    """Catches a call of the notebook that the code does not have, or a figure that is not drawn."""
    cells = (ROOT / "docs/tutorial.py").read_text()
    done = forked.start(["-c", cells], environment=os.environ | {"QUICKSTART": str(workdirs)})
    assert done.returncode == 0, done.stderr
    assert "k" in done.stdout.splitlines()[0]
    for name in ("based", "gated_delta_net"):
        assert f"{name}: accuracy " in done.stdout
        assert f"{name}: not_learned: " in done.stdout
    assert (workdirs / "figures" / "tutorial.svg").exists()


def test_half_precision():
    """Catches an analysis that takes bfloat16 into a decomposition or a loop of wider states."""
    few = {"evaluation.documents": 32, "evaluation.resamples": 50, "evaluation.roles": ("value",)}
    half = {"model.mixer": "gla,attention", "model.dtype": "bfloat16"}
    experiment = small.experiment(SHORT | few | half)
    batch = documents_of(experiment)
    subject = Subject.of(experiment, initialize(experiment.model, jax.random.key(0)), batch)
    options = AnalysesConfig(subspaces=SubspacesConfig(documents=64, steps=2))
    for name in ("subspaces", "attention"):
        tables = analyses.ANALYSES[name](subject, options, None)
        values = [row["value"] for rows in tables.values() for row in rows]
        assert values
        assert np.isfinite(values).all()
