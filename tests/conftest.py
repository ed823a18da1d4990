import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import hypothesis
import pytest
from sqlalchemy.engine import make_url

from service import copies
from service.access import SCOPES, create_key
from service.api.app import create_app
from service.database import Database
from service.product import Product
from service.schema import migrate
from service.settings import Settings
from tests.support import cloud
from tests.support.cloud import Moto
from tests.support.collection import cedar_files, write
from tests.support.postgres import Postgres
from tests.support.sagemaker import SageMaker
from tests.support.server import Server, free_port
from tests.support.world import World

# A busy machine is no failure: no test is timed.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with real images."""
    folder = os.environ.get("COUNTERSIGN_DATA")
    if not folder:
        pytest.skip("COUNTERSIGN_DATA does not point to the real images")
    return Path(folder)


@pytest.fixture(scope="session")
def cedar(data: Path) -> Path:
    return data / "cedar" / "signatures"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def built_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite as the migrations build it. To copy it takes a tenth of the time."""
    file = tmp_path_factory.mktemp("built") / "countersign.db"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def built_database(postgres: Postgres) -> str:
    """Name of a PostgreSQL database as the migrations build it."""
    url = postgres.new_database()
    migrate(url)
    return str(make_url(url).database)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database. Each test that asks for it runs on both kinds."""
    if request.param == "sqlite":
        file = tmp_path / "countersign.db"
        shutil.copyfile(request.getfixturevalue("built_file"), file)
        return f"sqlite:///{file}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.new_database(request.getfixturevalue("built_database"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that nobody has migrated yet, of both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.new_database()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=database_url, keystore_url=f"file:{tmp_path / 'keystore.json'}")


@pytest.fixture
def product(settings: Settings) -> Iterator[Product]:
    """The product opened in this process on a database without rows."""
    opened = Product.open(settings)
    opened.index.catch_up()
    yield opened
    opened.close()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One application for many tests, on both databases; they keep apart by ids that nobody used yet."""
    folder = tmp_path_factory.mktemp("world")
    url = f"sqlite:///{folder / 'countersign.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    settings = Settings(database_url=url, keystore_url=f"file:{folder / 'keystore.json'}")
    migrate(url)
    product = Product.open(settings)
    product.index.catch_up()
    yield World(settings, product)
    product.close()


@pytest.fixture
def copies_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """No signature is taken for a copy, for tests that question the same one several times."""
    monkeypatch.setattr(copies, "SAME", 2)


@pytest.fixture
def api(settings: Settings, product: Product) -> Iterator[httpx.Client]:
    """The application called in this process, by a caller with every scope."""
    with api_client(settings, product, SCOPES) as client:
        yield client


def api_client(settings: Settings, product: Product, scopes: tuple[str, ...]) -> httpx.Client:
    with product.database.writing() as session:
        key = create_key(session, scopes)
    transport = httpx.WSGITransport(create_app(settings, product))
    headers = {"Authorization": f"Bearer {key}"} if scopes else {}
    return httpx.Client(transport=transport, base_url="http://countersign", headers=headers)


@pytest.fixture
def sqlite_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, f"sqlite:///{tmp_path / 'countersign.db'}").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def server_of_one_megabyte(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server for many tests: one process on SQLite that takes requests of one megabyte."""
    folder = tmp_path_factory.mktemp("server")
    settings = {
        "COUNTERSIGN_MAX_REQUEST_MB": "1",
        "COUNTERSIGN_WORKERS": "1",
        "COUNTERSIGN_METRICS_BIND": f"127.0.0.1:{free_port()}",
    }
    server = Server(folder, f"sqlite:///{folder / 'countersign.db'}", settings).start()
    yield server
    server.stop()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.database_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def samples() -> Path:
    """Signatures drawn by the project itself: NAME/genuine_N.png and NAME/forged_N.png."""
    return SAMPLES


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    server = Moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.stop()


@pytest.fixture
def aws(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Moto:
    """An empty AWS that boto3 speaks to, with one bucket, `bank`."""
    moto.reset()
    for name, value in cloud.environment(moto.url).items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="bank", CreateBucketConfiguration={"LocationConstraint": cloud.REGION})
    return moto


@pytest.fixture(scope="session")
def sagemaker_server() -> Iterator[SageMaker]:
    server = SageMaker()
    yield server
    server.stop()


@pytest.fixture
def sagemaker(aws: Moto, sagemaker_server: SageMaker, monkeypatch: pytest.MonkeyPatch) -> SageMaker:
    """SageMaker beside moto's S3, logs and autoscaling."""
    sagemaker_server.reset()
    for name in ("SAGEMAKER", "SAGEMAKER_RUNTIME"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", sagemaker_server.url)
    return sagemaker_server


@pytest.fixture(scope="module")
def drawn_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small training set of invented writers."""
    from training import prepare  # most tests need nothing of it

    folder = tmp_path_factory.mktemp("data")
    prepare.main([str(write(folder / "cedar", cedar_files())), "--out", str(folder / "set")])
    return folder / "set"
