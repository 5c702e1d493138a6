"""The page about runs: what it says, that it keeps to itself, and how a real browser takes it."""

import base64
import io
import re
import shutil
import subprocess
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from experiments import report
from experiments.labels import counted
from peg_jax.core.config import ConfigError
from peg_jax.run.files import RunError
from peg_jax.run.media import write_animation, write_image
from tests.experiments.written import GOALS, write_explorer, write_run

HOSTILE = "<img src=x onerror=alert(1)> & $x_1$"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """<script>addEventListener("load", () => {
  const images = [...document.images], wide = document.documentElement;
  const drawn = images.filter(i => i.complete && i.naturalWidth > 20 && i.getBoundingClientRect().width > 20).length;
  document.title = `drawn ${drawn} of ${images.length}, too wide ${wide.scrollWidth > wide.clientWidth}`;
})</script></body>"""


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The page about two runs, and what the command said; what is no run, and two half-written ones, lie beside."""
    root = tmp_path_factory.mktemp("runs")
    for name, method, level in (("first", "peg", 0.5), (HOSTILE, "p2e", 0.25)):
        write_run(root / name, method, 0, np.full((3, GOALS), level), steps=5000)
    write_explorer(root / "explorer", "ppo_plus_eco", "noreward", 0, np.array([9, 20, 31]))
    media = root / "first" / "media"
    for step in (1000, 3000):
        write_image(media / f"openl_{step}.png", picture(step))
        write_animation(media / f"train_policy_{step}", np.stack([picture(step), picture(step + 1)]), fps=10)
    (media / "top_10_cem_3000.png").write_text("no picture")
    (root / "foreign").mkdir()
    (root / "foreign" / "thesis.txt").write_text("not a run")
    (root / "weights" / "evaluation").mkdir(parents=True)  # what evaluating published weights leaves
    for half, metrics in (("half", None), ("torn", '{"step": 10, "loss')):
        (root / half).mkdir()
        shutil.copy(root / "first" / "config.json", root / half)
        if metrics:
            (root / half / "metrics.jsonl").write_text(metrics)
    page = root / "out" / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        said = io.StringIO()
        patch.setattr("sys.stdout", said)
        names = ("first", HOSTILE, "explorer", "foreign", "weights", "half", "torn")
        assert report.run([*(str(root / name) for name in names), f"--output={page}"]) == 0
    return page, said.getvalue()


def test_what_is_no_run_is_named_and_skipped(written: tuple[Path, str]) -> None:
    page, said = written
    lines = [line for line in said.splitlines() if line.startswith("skipped")]
    assert [Path(line.split(":")[0]).name for line in lines] == ["foreign", "weights", "half", "torn"]
    assert "no config.json" in lines[0] and "nothing has been logged yet" in lines[3]
    assert len(re.findall(r'<p class="note">skipped', page.read_text())) == 4


def test_the_page_says_what_the_runs_are(written: tuple[Path, str]) -> None:
    text = written[0].read_text()
    assert "<h1>3 runs</h1>" in text and counted(1, "run") == "1 run"
    assert "<td>0.5 (max_eval_metric_success_cell at 3,000)</td>" in text
    assert "<td>0.25 (max_eval_metric_success_cell at 3,000)</td>" in text
    assert "<td>31 (test_coverage at 3,000)</td>" in text
    assert "<td>3,000 of 5,000" in text
    for shown in ("agent.world_model.deter", "git_revision", "device_kind", "cpu_count", "jaxlib"):
        assert f"<td>{shown}" in text or f", {shown} " in text, shown


def test_text_is_escaped_and_nothing_comes_from_elsewhere(written: tuple[Path, str]) -> None:
    text = written[0].read_text()
    assert "onerror" in text and "<img src=x" not in text
    sources = re.findall(r'<img src="([^"]+)"', text)
    assert text.count("<img") == len(sources)
    assert all(source.startswith("data:image/") for source in sources)
    assert re.findall(r"<(script|link|iframe|object|base)\b|url\(|@import", text) == []


def test_pictures_are_the_latest_of_each_kind(written: tuple[Path, str]) -> None:
    found = re.findall(r'src="data:image/(\w+);base64,([^"]+)".*? alt="([^"]+)"', written[0].read_text())
    titles = {title: (kind, base64.b64decode(content)) for kind, content, title in found}
    assert set(titles) == {"curves", "goals", "openl after 3,000 steps", "train_policy after 3,000 steps"}
    np.testing.assert_array_equal(iio.imread(titles["openl after 3,000 steps"][1]), picture(3000))
    kind, content = titles["train_policy after 3,000 steps"]
    assert kind == "gif" and len(iio.imread(content, index=None)) == 2
    assert all(iio.imread(titles[name][1]).std() > 5 for name in ("curves", "goals"))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_draws_every_picture(written: tuple[Path, str], tmp_path: Path) -> None:
    text = written[0].read_text()
    measured = tmp_path / "measured.html"
    measured.write_text(re.sub("<meta http-equiv[^>]+>", "", text).replace("</body>", MEASURE))
    words = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    words += ["--window-size=900,1200", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run([*words, measured.as_uri()], capture_output=True, text=True, timeout=120)
    assert "<title>drawn 5 of 5, too wide false</title>" in done.stdout, done.stderr[-2000:]
    shot = tmp_path / "shot.png"
    words[-1:] = [f"--screenshot={shot}"]
    subprocess.run([*words, written[0].as_uri()], capture_output=True, timeout=120, check=True)
    pixels = iio.imread(shot)[..., :3]
    assert pixels.shape == (1200, 900, 3) and len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no runs given"):
        report.run([])
    with pytest.raises(ConfigError, match="no such directory"):
        report.run([str(tmp_path / "nowhere")])
    with pytest.raises(RunError, match="no run that has logged anything"):
        report.run([str(tmp_path)])
