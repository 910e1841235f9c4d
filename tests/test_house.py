"""The house: rules that hold for every folder, so that a new service is right or red."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from scoregate import catalog
from scoregate.contract import ScoreRequest
from scoregate.policy import Policy
from scoregate.telemetry import names

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ROOT / "services"
LIBRARY = SERVICES / "scoregate"
NAMES = catalog.services()
FILES = ("README.md", "__init__.py", "contract.py", "features.py", "policy.toml", "service.py", "train.py")


def imports(path: Path) -> set[str]:
    """First parts of the absolute imports of a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def feature_services() -> set[str]:
    text = (ROOT / "feature_repo" / "feature_services.py").read_text()
    return set(re.findall(r'FeatureService\(\s*(?:name=)?"(\w+)"', text))


@pytest.mark.parametrize("name", NAMES)
def test_a_service_has_the_same_files_as_its_siblings(name: str) -> None:
    """Whoever knows one service knows them all."""

    assert [] == [file for file in FILES if not (SERVICES / name / file).is_file()]


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_read_in_a_minute(name: str) -> None:
    """service.py is a name, a contract and a scorer: 40 lines at most."""

    assert len((SERVICES / name / "service.py").read_text().splitlines()) <= 40


@pytest.mark.parametrize("name", NAMES)
def test_a_service_does_not_hold_its_own_name(name: str) -> None:
    """The folder's name is the name everywhere; code that repeats it breaks a copy under another name."""
    literal = re.compile(rf"""["']{name}(?:["'./]|_v)|\bimport {name}\b|\bfrom {name}\b""")

    assert [] == [p.name for p in (SERVICES / name).glob("*.py") if literal.search(p.read_text())]


@pytest.mark.parametrize("name", NAMES)
def test_a_service_imports_no_sibling(name: str) -> None:
    """Services share the library and nothing else; the import contracts say so for those they list, this for all."""
    others = set(NAMES) - {name}

    assert set() == set().union(*(imports(p) for p in (SERVICES / name).glob("*.py"))) & others


@pytest.mark.parametrize("name", NAMES)
def test_a_service_has_a_feature_service(name: str) -> None:
    """Each model version reads one FeatureService, named <folder>_v<number>."""

    assert [s for s in feature_services() if re.fullmatch(rf"{name}_v\d+", s)]


def test_a_feature_service_has_a_folder() -> None:
    """A FeatureService that nobody serves is a leftover."""

    assert [] == [s for s in feature_services() if re.sub(r"_v\d+$", "", s) not in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_holds_together(name: str) -> None:
    """The example is a valid request without a time; natural key and personal fields are fields of it."""
    contract = catalog.part(name, "contract")
    request = contract.Request.model_validate_json(json.dumps(contract.EXAMPLE))
    fields = set(contract.Request.model_fields)

    assert issubclass(contract.Request, ScoreRequest)
    assert request.event_at is None
    assert {contract.Request.NATURAL_KEY} | set(contract.Request.PERSONAL) <= fields


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_names_features_of_the_service(name: str) -> None:
    """Rules and reasons speak of features that the matrix has, and a feature speaks for one reason at most."""
    policy = Policy.from_toml((SERVICES / name / "policy.toml").read_text())
    features = catalog.part(name, "features").FEATURES
    policy.check(features)
    spoken = [evidence.feature for group in policy.groups.values() for evidence in group]

    assert len(spoken) == len(set(spoken))
    assert len(features) == len(set(features))


def test_only_settings_reads_the_environment() -> None:
    """One place to look for what can be set, and one that a rollback need not wait for."""
    readers = [p for p in SERVICES.rglob("*.py") if re.search(r"os\.environ|os\.getenv|getenv\(", p.read_text())]

    settings = {LIBRARY / name for name in ("settings.py", "tracing_settings.py", "home.py")}

    assert [] == [str(p.relative_to(ROOT)) for p in readers if p not in settings]


def test_names_of_metrics_stand_in_one_file() -> None:
    """A metric, span or attribute is named in telemetry/names.py and nowhere else in the library."""
    ours = [value for value in vars(names).values() if isinstance(value, str) and value.startswith("scoregate")]
    quoted = re.compile(
        "|".join(f"[\"']{re.escape(value)}[\"']" for value in ours if value != "scoregate.telemetry.names")
    )
    holders = [p for p in LIBRARY.rglob("*.py") if p.name != "names.py" and quoted.search(p.read_text())]

    assert len(ours) > 15
    assert [] == [str(p.relative_to(ROOT)) for p in holders]


def test_every_folder_says_what_lives_there() -> None:
    """A README in every folder that holds files of ours."""
    folders = {
        SERVICES,
        ROOT / "feature_repo",
        ROOT / "compose",
        ROOT / "helm",
        ROOT / "k8s",
        ROOT / "loadtest",
        ROOT / "tests",
    }
    folders |= {p.parent for p in SERVICES.rglob("*.py")}

    assert [] == sorted(str(f.relative_to(ROOT)) for f in folders if not (f / "README.md").is_file())


def test_the_chart_deploys_this_version() -> None:
    """The version stands in scoregate/__init__.py; the chart's appVersion follows it."""
    version = re.search(r'__version__ = "([^"]+)"', (LIBRARY / "__init__.py").read_text())
    chart = (ROOT / "helm" / "scoregate" / "Chart.yaml").read_text()
    assert version

    assert re.search(rf'^appVersion: "?{re.escape(version[1])}"?$', chart, re.MULTILINE)


def test_no_lock_holds_an_address() -> None:
    """Locks work from any index or mirror: hashes and versions, no addresses."""

    assert [] == [p.name for p in (ROOT / "requirements").glob("*.lock") if "://" in p.read_text()]
