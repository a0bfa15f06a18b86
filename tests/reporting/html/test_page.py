"""Pages escape what they show, and let no other script run."""

import base64
import hashlib
import re

from mecheval_jax.reporting.html import report
from tests.support.reported_runs import make_run


def test_names_are_escaped(tmp_path):
    folder = make_run(tmp_path / '<script>alert("x")<', reason="<b>&--><script>")
    html = report.write(
        [str(folder), str(make_run(tmp_path / "other", interchange=False))]
    ).read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    assert "alert" not in script
    assert html.count("<script") == 1
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;" in html


def test_the_policy_is_of_this_script(tmp_path):
    """Catches a script that the page's own policy forbids, and a policy that lets others run."""
    html = report.write([str(make_run(tmp_path / "x", interchange=False))]).read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy.replace("&#39;", "'")
    assert not re.findall(r'\son\w+="', html)  # no script in an attribute
