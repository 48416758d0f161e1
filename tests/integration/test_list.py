"""The listing stages: what there is in an archive, in a Drive folder, said file by file; what is wrong with one is its own."""
import hashlib
import io
import json
import pathlib
import sys
import tarfile
import zipfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))
from drive import DOCUMENT, FOLDER, SHORTCUT, Drive  # noqa: E402
from task_stage import run_stage  # noqa: E402


def rows(tmp_path, report):
    assert report.verdict == "ok", report.message
    lines = (tmp_path / "out" / "files.ndjson").read_text().splitlines()
    assert report.results["files"] == len(lines)
    return [json.loads(line) for line in lines]


def archive(tmp_path, path, params=None, out="out"):
    return run_stage("list", "list-archive", tmp_path / out, params, inputs=[("input", f"archive={path}")])


def test_files_of_a_zip_are_unpacked_under_names_of_ours(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("clips/one.mp4", b"1" * 5000)
        z.writestr("../../etc/two.mp4", b"2" * 100)
        z.writestr("clips/", b"")
        z.writestr("clips/empty.mp4", b"")
        z.writestr("clips/bomb.mp4", b"\0" * 3_000_000)
    found = rows(tmp_path, archive(tmp_path, tmp_path / "a.zip", {"max-file-size": "1M"}))
    assert [(f["name"], f.get("problem")) for f in found] == [
        ("clips/one.mp4", None), ("../../etc/two.mp4", None), ("clips/empty.mp4", "empty"), ("clips/bomb.mp4", "oversized")]
    assert (tmp_path / "out" / found[0]["input"]).read_bytes() == b"1" * 5000
    assert found[0]["source"] == "sha256:" + hashlib.sha256(b"1" * 5000).hexdigest()
    assert found[1]["input"] == "entries/0002-two.mp4"
    assert sorted(p.name for p in (tmp_path / "out" / "entries").iterdir()) == ["0001-one.mp4", "0002-two.mp4"]


def test_links_and_devices_in_a_tar_are_problems_of_their_own(tmp_path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as t:
        for name, kind in (("link.mp4", tarfile.SYMTYPE), ("hard.mp4", tarfile.LNKTYPE), ("null.mp4", tarfile.CHRTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            t.addfile(entry)
        entry = tarfile.TarInfo("good.mp4")
        entry.size = 4
        t.addfile(entry, io.BytesIO(b"good"))
    found = rows(tmp_path, archive(tmp_path, tmp_path / "a.tar.gz"))
    assert [f.get("problem") for f in found] == ["unsafe-name"] * 3 + [None]


def test_what_is_no_archive_or_too_much_of_one_fails_with_a_sentence(tmp_path):
    (tmp_path / "no.zip").write_bytes(b"this is no archive" * 100)
    report = archive(tmp_path, tmp_path / "no.zip")
    assert report.verdict == "fail" and "archive" in report.message
    with zipfile.ZipFile(tmp_path / "big.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for i in range(5):
            z.writestr(f"{i}.mp4", b"\0" * 900_000)
    report = archive(tmp_path, tmp_path / "big.zip", {"max-total": "2M"}, out="total")
    assert report.verdict == "fail" and "max-total" in report.message
    report = archive(tmp_path, tmp_path / "big.zip", {"max-files": 3}, out="files")
    assert report.verdict == "fail" and "max-files" in report.message


@pytest.fixture
def drive():
    made = Drive()
    yield made
    made.stop()


def folder(tmp_path, drive, name="folder1", **params):
    return run_stage("list", "list-drive", tmp_path / "out",
                     {"folder": name, "url": drive.url, "token": drive.token, **{k.replace("_", "-"): v for k, v in params.items()}})


def test_a_drive_folder_is_read_page_by_page(tmp_path, drive):
    target = drive.add("elsewhere", "target.mov", b"t" * 10, "video/quicktime")
    drive.add("folder1", "one.mp4", b"1" * 100)
    drive.add("folder1", "big.mp4", b"2" * 2000)
    drive.add("folder1", "notes", kind=DOCUMENT)
    drive.add("folder1", "more", kind=FOLDER)
    drive.add("folder1", "short.mov", kind=SHORTCUT, shortcutDetails={"targetId": target, "targetMimeType": "video/quicktime"})
    drive.add("folder1", "dead", kind=SHORTCUT, shortcutDetails={"targetId": "gone", "targetMimeType": "video/mp4"})
    found = rows(tmp_path, folder(tmp_path, drive, max_file_size="1k"))
    assert [(f["name"], f.get("problem")) for f in found] == [
        ("one.mp4", None), ("big.mp4", "oversized"), ("notes", "no-content"), ("more", "folder"), ("short.mov", None),
        ("dead", "unreadable")]
    assert found[0]["source"].endswith("@" + hashlib.md5(b"1" * 100).hexdigest())
    assert found[4]["input"] == f"{drive.url}/files/{target}?alt=media&supportsAllDrives=true"
    assert len([1 for path, *_ in drive.seen if path.endswith("/files")]) == 3, "six files on pages of two"
    assert not any("alt" in query for _, query, _ in drive.seen), "not a byte is fetched to know the sizes"


def test_a_rate_limit_is_waited_for_and_an_expired_token_is_not(tmp_path, drive):
    drive.add("folder1", "one.mp4", b"1")
    drive.limits = 2
    assert len(rows(tmp_path, folder(tmp_path, drive))) == 1
    drive.token = "another"
    report = run_stage("list", "list-drive", tmp_path / "out", {"folder": "folder1", "url": drive.url, "token": "old-token"})
    assert report.verdict == "fail" and "expired" in report.message and "old-token" not in json.dumps(report)
    report = folder(tmp_path, drive, "nowhere")
    assert report.verdict == "fail" and "no such folder" in report.message
    assert folder(tmp_path, drive, "a' or 'b").verdict == "fail"
