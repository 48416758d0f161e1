"""A real S3 server (Ceph's RADOS gateway) for tests, and s3cmd as the foreign client that judges what lies in it."""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ACCESS_KEY = "stagemilltestkey0001"
SECRET_KEY = "stagemillTestSecretKey/With+Signs0000001"


def missing():
    """Why the server cannot run here, or None."""
    tools = ["radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "monmaptool", "s3cmd"]
    absent = [tool for tool in tools if not shutil.which(tool)]
    return f"not installed: {', '.join(absent)}" if absent else None


def free_ports():
    """Two neighbouring free ports, outside of the range the kernel hands out."""
    for port in range(17480 + os.getpid() % 1000 * 4, 32000, 2):
        try:
            for number in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
            return port
        except OSError:
            continue
    raise RuntimeError("no free ports")


class Rgw:
    def __init__(self):
        # Four daemons that have to find one another in time: on a busy machine a first try may fail, and is told.
        for left in (2, 1, 0):
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="stagemill-rgw-"))
            self.endpoint, told = self.start()
            if self.endpoint:
                break
            self.stop()
            print(f"the S3 server did not start ({left} tries left): {told}", file=sys.stderr)
            if not left:
                raise RuntimeError(told)
        host = self.endpoint.removeprefix("http://")
        self.config = self.folder / "s3cfg"
        self.config.write_text(
            f"[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\nhost_base = {host}\nhost_bucket = {host}/%(bucket)\n"
            "use_https = False\nsignature_v2 = False\n"
        )

    def start(self):
        """The endpoint, or None and what went wrong."""
        line = ["bash", str(HERE / "rgw-up.sh"), str(self.folder / "ceph"), str(free_ports())]
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=240)
        except subprocess.TimeoutExpired as late:
            return None, str(late)
        return (done.stdout.strip(), "") if done.returncode == 0 else (None, f"exit {done.returncode}: {done.stderr}")

    def stop(self):
        subprocess.run(["bash", str(HERE / "rgw-down.sh"), str(self.folder / "ceph")], timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def s3cmd(self, *words, check=True):
        line = ["s3cmd", "-c", str(self.config), *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def make_bucket(self, name):
        self.s3cmd("mb", f"s3://{name}")
        return name

    def keys(self, bucket):
        lines = self.s3cmd("ls", "--recursive", f"s3://{bucket}/").splitlines()
        return sorted(line.split(f"s3://{bucket}/", 1)[1] for line in lines)

    def read(self, bucket, key):
        with tempfile.TemporaryDirectory() as folder:
            self.s3cmd("get", "--force", f"s3://{bucket}/{key}", f"{folder}/object")
            return pathlib.Path(folder, "object").read_bytes()

    def info(self, bucket, key):
        return self.s3cmd("info", f"s3://{bucket}/{key}")

    def uploads(self, bucket):
        """Multipart uploads that were never completed or aborted."""
        return [line for line in self.s3cmd("multipart", f"s3://{bucket}/").splitlines() if "s3://" in line and "\t" in line]
