"""A Postfix of a test's own: real, started as root with a configuration folder of its own on a loopback port. It wants
STARTTLS and a login, keeps mail for known boxes of example.org, says 450 for later@example.org and 550 for unknown ones."""
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

USER, PASSWORD, REALM = "mill", "letter-box", "mill.example.org"
SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
error unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
MAIN = """
compatibility_level = 3.6
queue_directory = {d}/spool
data_directory = {d}/data
maillog_file = {d}/log
maillog_file_prefixes = {d}
myhostname = mill.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = example.org
virtual_mailbox_maps = inline:{{ {{ann@example.org = ann}}, {{later@example.org = later}} }}
virtual_mailbox_base = {d}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
smtpd_tls_cert_file = {d}/cert.pem
smtpd_tls_key_file = {d}/key.pem
smtpd_tls_security_level = encrypt
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = {d}/sasl
smtpd_sasl_local_domain = {realm}
smtpd_tls_auth_only = yes
smtpd_recipient_restrictions = permit_sasl_authenticated_first
smtpd_restriction_classes = permit_sasl_authenticated_first
permit_sasl_authenticated_first =
  check_recipient_access inline:{{ {{later@example.org = 450 come back later}} }},
  reject_unlisted_recipient, permit_sasl_authenticated, reject
"""


def unavailable():
    """Why there can be none here; empty when there can."""
    if os.geteuid() != 0:
        return "Postfix has to be started as root"
    if not shutil.which("postfix", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return "postfix is not installed"
    if not pathlib.Path("/usr/lib/x86_64-linux-gnu/sasl2/libsasldb.so").exists() and not list(
            pathlib.Path("/usr/lib").glob("*/sasl2/libsasldb.so")):
        return "libsasl2-modules-db is not installed"
    return ""


def make_login(folder):
    """A database of logins, by the library that Postfix reads it with."""
    folder.mkdir()
    (folder / "smtpd.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\nsasldb_path: {folder}/sasldb2\n")
    program = f"""
import ctypes
sasl, connection = ctypes.CDLL("libsasl2.so.2"), ctypes.c_void_p()
assert sasl.sasl_set_path(1, {str(folder)!r}.encode()) == 0 and sasl.sasl_server_init(None, b"smtpd") == 0
assert sasl.sasl_server_new(b"smtp", b"{REALM}", b"{REALM}", None, None, None, 0, ctypes.byref(connection)) == 0
assert sasl.sasl_setpass(connection, b"{USER}", b"{PASSWORD}", {len(PASSWORD)}, None, 0, 1) == 0
"""
    subprocess.run(["/usr/bin/python3", "-c", program], check=True, capture_output=True)
    os.chmod(folder / "sasldb2", 0o644)


class Postfix:
    def __enter__(self):
        self.folder = d = pathlib.Path(tempfile.mkdtemp(prefix="stagemill-postfix-"))
        d.chmod(0o755)
        owner = pwd.getpwnam("postfix")
        for name in ("spool", "data", "mail"):
            (d / name).mkdir()
        os.chown(d / "data", owner.pw_uid, owner.pw_gid)
        os.chown(d / "mail", owner.pw_uid, owner.pw_gid)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        d / "key.pem", "-out", d / "cert.pem"], check=True, capture_output=True)
        make_login(d / "sasl")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (d / "master.cf").write_text(SERVICES.format(port=self.port).lstrip())
        (d / "main.cf").write_text(MAIN.format(d=d, uid=owner.pw_uid, gid=owner.pw_gid, realm=REALM))
        self.process = subprocess.Popen(["/usr/sbin/postfix", "-c", d, "start-fg"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(d / "err", "w"))
        self.wait_for_greeting()
        return self

    def wait_for_greeting(self):
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as s:
                    if s.recv(100).startswith(b"220"):
                        return
            except OSError:
                pass
            time.sleep(0.1)
        said = self.said()
        self.__exit__()
        raise AssertionError(f"Postfix did not start:\n{said}")

    def said(self):
        return "".join((self.folder / name).read_text() for name in ("err", "log") if (self.folder / name).exists())

    def box(self, name):
        path = self.folder / "mail" / name
        return path.read_text() if path.exists() else ""

    def __exit__(self, *_):
        pid_file = self.folder / "spool" / "pid" / "master.pid"
        master = int(pid_file.read_text()) if pid_file.exists() else self.process.pid
        for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            end = time.monotonic() + seconds
            while time.monotonic() < end and pathlib.Path(f"/proc/{master}").exists():
                os.kill(master, number)
                self.process.poll()
                time.sleep(0.1)
        self.process.kill()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)
