"""Pages escape what they show."""

from mecheval_jax.reporting.html import report
from tests.support.reported_runs import make_run


def test_names_are_escaped(tmp_path):
    folder = make_run(tmp_path / '<script>alert("x")<', reason="<b>&--><script>")
    html = report.write(
        [str(folder), str(make_run(tmp_path / "other", interchange=False))]
    ).read_text()
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;" in html
